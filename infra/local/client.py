"""A client of the public API, as far as the demo needs one."""

import csv
import io
from collections.abc import Iterator
from threading import Event
from time import monotonic
from typing import Any, Self

import httpx

from infra.local.errors import LocalError
from infra.local.waiting import INTERVAL, Seconds

Import = dict[str, Any]
FINAL = {"succeeded", "failed", "cancelled"}


class Client:
    """Every method raises LocalError with the API's own words when it refuses."""

    def __init__(self, url: str, api_key: str) -> None:
        headers = {"Authorization": f"Bearer {api_key}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._http.close()

    def upload(self, filename: str, content: bytes) -> Import:
        files = {"file": (filename, content, "text/csv")}
        return self._import(self._http.post("/v1/imports", files=files))

    def import_(self, import_id: str) -> Import:
        return self._import(self._http.get(f"/v1/imports/{import_id}"))

    def rejected(self, import_id: str) -> Iterator[dict[str, str]]:
        """The rejected rows as sent, plus `_row`, `_column`, `_error`."""
        answer = self._checked(self._http.get(f"/v1/imports/{import_id}/rejected.csv"))
        yield from csv.DictReader(io.StringIO(answer.text, newline=""))

    def accepts_key(self) -> bool:
        return self._http.get("/v1/imports").status_code == httpx.codes.OK

    def progress(self, import_id: str, *, seconds: Seconds) -> Iterator[Import]:
        """The import again and again, until it ends. Raises LocalError after `seconds`."""
        deadline, pause = monotonic() + seconds, Event()
        while monotonic() < deadline:
            state = self.import_(import_id)
            yield state
            if state["status"] in FINAL:
                return
            pause.wait(INTERVAL)
        raise LocalError(f"the import did not end within {seconds:.0f} s")

    def _import(self, answer: httpx.Response) -> Import:
        found: Import = self._checked(answer).json()
        return found

    def _checked(self, answer: httpx.Response) -> httpx.Response:
        if answer.is_error:
            request = answer.request
            raise LocalError(f"{request.method} {request.url.path}: {answer.text}")
        return answer
