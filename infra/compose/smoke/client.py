"""A customer of the product: the public API at its door, used as a careful client uses it."""

import http.client
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Any

from infra.compose.smoke.errors import SmokeError, check
from infra.compose.smoke.web import Answer, Door, ask

Import = dict[str, Any]
Export = dict[str, Any]

BAD_EVERY = 50
PATIENCE_SECONDS = 90
AGAIN = frozenset({409, 429, 502, 503, 504})
"""409: the first try is still at it."""


def contacts_csv(name: str, rows: int) -> tuple[bytes, int]:
    """`rows` rows with addresses of their own, and how many of them are good; each 50th has no address."""
    lines = ["Email,First Name,Last Name,Company"]
    good = 0
    for number in range(rows):
        bad = number % BAD_EVERY == BAD_EVERY - 1
        good += not bad
        lines.append(f"{'' if bad else f'{name}.{number}@example.com'},Ada,Row {number},Grist Ltd.")
    return "\r\n".join([*lines, ""]).encode(), good


class Client:
    """A call that gets no answer, or is told to come again, is repeated with the same idempotency key;
    `repeats` counts these, by what came instead.
    """

    def __init__(self, door: Door, key: str) -> None:
        self.door = door
        self.key = key
        self.repeats: Counter[str] = Counter()

    def get(self, path: str) -> bytes:
        return self._call("GET", path, b"", {}).body

    def upload(self, name: str, body: bytes) -> Import:
        """The import that was accepted."""
        headers = {"Content-Type": "text/csv"}
        accepted: Import = self._post(f"/v1/imports?filename={name}.csv", body, headers).json()
        return accepted

    def order(self, **wanted: Any) -> Export:
        """The export that was accepted."""
        body = json.dumps(wanted).encode()
        ordered: Export = self._post(
            "/v1/exports", body, {"Content-Type": "application/json"}
        ).json()
        return ordered

    def finished(self, path: str, *, seconds: float) -> dict[str, Any]:
        """What is at `path` once it has ended, however it did."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            state: dict[str, Any] = json.loads(self.get(path))
            if state["status"] in {"succeeded", "failed", "cancelled"}:
                return state
            time.sleep(0.3)
        raise SmokeError(f"{path} did not end within {seconds:.0f} s: {state}")

    def events(self, path: str, *, seconds: float) -> int:
        """How many events the stream sends until it says that it is over."""
        connection = self.door.connect(seconds=seconds)
        try:
            connection.request("GET", path, headers=self._authorized({}))
            lines = connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()
        check("event: end" in lines, f"{path} broke off: {lines[-3:]}")
        return sum(line.startswith("data: ") for line in lines) - 1

    def download(self, path: str) -> Answer:
        """Where the file is: the redirect itself."""
        return ask(self.door, path, headers=self._authorized({}))

    def _post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        return self._call("POST", path, body, {**headers, "Idempotency-Key": str(uuid.uuid4())})

    def _authorized(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {**headers, "Authorization": f"Bearer {self.key}"}

    def _call(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer = ask(
                    self.door, path, method=method, headers=self._authorized(headers), body=body
                )
                found = f"{answer.status} {answer.body[:300]!r}"
            except (OSError, http.client.HTTPException) as error:
                found = repr(error)
            else:
                if answer.status < http.client.BAD_REQUEST:
                    return answer
                if answer.status not in AGAIN:
                    raise SmokeError(f"{method} {path}: {found}")
            self.repeats[found[:60]] += 1
            check(time.monotonic() < deadline, f"{method} {path} got no answer: {found}")
            time.sleep(0.1)


class Load:
    """Threads that upload files one after the other, and all that was accepted: good rows by import."""

    def __init__(self, client: Client, *, threads: int, rows: int, name: str = "load") -> None:
        self._client, self._rows, self._name = client, rows, name
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._work, args=(i,)) for i in range(threads)]
        self.accepted: dict[str, int] = {}
        self.errors: list[str] = []
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=120)

    def _work(self, which: int) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            body, good = contacts_csv(f"{self._name}{which}x{number}", self._rows)
            try:
                accepted = self._client.upload(f"{self._name}-{which}-{number}", body)
            except SmokeError as error:
                self.errors.append(str(error))
                return
            with self._lock:
                self.accepted[accepted["id"]] = good
            self._stop.wait(1.0)
