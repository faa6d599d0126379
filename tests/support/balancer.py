"""A load balancer, and clients that send it one request after the other."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any
from uuid import uuid4

import httpx

from tests.support.web import HOST, plain_client

CHECK_SECONDS = 0.2
PAUSE_SECONDS = 0.2
LOOKS = 10


class Balancer:
    """Asks each web process for its /readyz, and sends requests to those that are ready.

    It keeps its connections, and it never sends a request again: one that gets no answer has failed.
    """

    def __init__(self, ports: Sequence[int], key: str) -> None:
        self._headers = {"Authorization": f"Bearer {key}"}
        self._clients = {port: self._client(port) for port in ports}
        self._ready: list[int] = []
        self._turn = count()
        self._ended = threading.Event()
        self._checks = [threading.Thread(target=self._check, args=(port,)) for port in ports]
        self.served: Counter[int] = Counter()
        for check in self._checks:
            check.start()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request, to whoever's turn it is. Raises httpx.TransportError when it fails."""
        while not (ready := list(self._ready)):
            time.sleep(0.01)
        port = ready[next(self._turn) % len(ready)]
        answer = self._clients[port].request(method, path, **options)
        self.served[port] += 1
        return answer

    def knows_ready(self, port: int) -> bool:
        return port in self._ready

    def close(self) -> None:
        self._ended.set()
        for check in self._checks:
            check.join(10)
        for client in self._clients.values():
            client.close()

    def _client(self, port: int) -> httpx.Client:
        return plain_client(f"http://{HOST}:{port}", headers=self._headers)

    def _check(self, port: int) -> None:
        with self._client(port) as client:
            while not self._ended.wait(CHECK_SECONDS):
                ready = self._is_ready(client)
                if ready and port not in self._ready:
                    self._ready.append(port)
                if not ready and port in self._ready:
                    self._ready.remove(port)

    def _is_ready(self, client: httpx.Client) -> bool:
        try:
            return client.get("/readyz", timeout=2).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


class Traffic:
    """Threads that upload small files and look at what they uploaded, until stopped."""

    def __init__(self, balancer: Balancer, *, threads: int, rows: int) -> None:
        self._balancer = balancer
        self._rows = rows
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(threads)]
        self.imports: list[str] = []
        self.requests = 0
        self.failed: list[str] = []
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _work(self) -> None:
        while not self._stop.is_set():
            import_id = self._ask(self._upload, wanted=202)
            if import_id is not None:
                self.imports.append(import_id)
                for _ in range(LOOKS):
                    self._ask(lambda one=import_id: self._look(one), wanted=200)  # type: ignore[misc]
                    self._stop.wait(PAUSE_SECONDS)

    def _upload(self) -> httpx.Response:
        tag = uuid4().hex
        body = "email\n" + "".join(f"{tag}.{n}@example.com\n" for n in range(self._rows))
        path = f"/v1/imports?filename={tag}.csv"
        return self._balancer.request(
            "POST", path, content=body.encode(), headers={"Content-Type": "text/csv"}
        )

    def _look(self, import_id: str) -> httpx.Response:
        return self._balancer.request("GET", f"/v1/imports/{import_id}")

    def _ask(self, send: Callable[[], httpx.Response], *, wanted: int) -> str | None:
        """The id in the answer; a failure is written down."""
        self.requests += 1
        try:
            answer = send()
        except httpx.TransportError as error:
            self.failed.append(repr(error))
            return None
        if answer.status_code != wanted:
            self.failed.append(f"{answer.status_code}: {answer.text}")
            return None
        return str(answer.json()["id"])
