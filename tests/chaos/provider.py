"""`python -m tests.chaos.provider PORT FOLDER SEED`: a payment provider that keeps books and behaves badly.

It honours `Idempotency-Key`: a key that was charged gets the first answer again. Every request is written
down before it is answered. How it behaves is drawn from the seed, the charge's number and how often it
came, so the same campaign meets the same provider.
"""

import json
import random
import sqlite3
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

BOOKS = "provider.sqlite"
SLOW_SECONDS = 1.0
RETRY_AFTER_SECONDS = 1

BEHAVIOURS: Mapping[str, float] = MappingProxyType(
    {
        "refuse": 0.08,  # 500, nothing done
        "busy": 0.06,  # 429 with Retry-After, nothing done
        "vanish": 0.08,  # done, but the connection ends without an answer
        "fail_late": 0.04,  # done, and answered 500
        "slow": 0.04,  # done and answered, a second later
    }
)

_TABLES = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE requests (id INTEGER PRIMARY KEY, at REAL, key TEXT, number INT, behaviour TEXT);
    CREATE INDEX by_number ON requests (number);
    CREATE TABLE charges (key TEXT PRIMARY KEY, number INT, at REAL);
"""


def behaviour(seed: int, number: int, times: int) -> str:
    """What the request for this charge meets when it comes for the `times`-th time."""
    roll = random.Random(f"{seed}/{number}/{times}").random()  # noqa: S311 - not a secret
    for name, share in BEHAVIOURS.items():
        roll -= share
        if roll < 0:
            return name
    return "serve"


@dataclass(frozen=True, slots=True)
class Charge:
    """What the books hold under a key. `first` is False for a request that was charged before."""

    receipt: str
    first: bool


class Books:
    """Every request that came, and every charge that was made, in one SQLite file."""

    def __init__(self, path: Path, seed: int) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.executescript(_TABLES)

    def note(self, key: str, number: int) -> str:
        """Write the request down; how to behave."""
        with self._lock:
            (times,) = self._database.execute(
                "SELECT count(*) FROM requests WHERE number = ?", (number,)
            ).fetchone()
            chosen = behaviour(self._seed, number, times + 1)
            self._database.execute(
                "INSERT INTO requests (at, key, number, behaviour) VALUES (?, ?, ?, ?)",
                (time.time(), key, number, chosen),
            )
        return chosen

    def charge(self, key: str, number: int) -> Charge:
        """Charge once per key."""
        with self._lock:
            done = self._database.execute(
                "INSERT INTO charges (key, number, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (key, number, time.time()),
            )
        return Charge(receipt=f"receipt-{key}", first=done.rowcount == 1)


class Desk(BaseHTTPRequestHandler):
    """POST /charges with {"number": ...} and an `Idempotency-Key`."""

    protocol_version = "HTTP/1.1"
    books: ClassVar[Books]

    def do_GET(self) -> None:
        self._answer(200, {"open": True})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key, number = self.headers["Idempotency-Key"], int(body["number"])
        chosen = self.books.note(key, number)
        if chosen == "refuse":
            return self._answer(500, {"error": "try again"})
        if chosen == "busy":
            return self._answer(429, {"error": "busy"}, {"Retry-After": str(RETRY_AFTER_SECONDS)})
        charged = self.books.charge(key, number)
        if chosen == "vanish":
            self.close_connection = True
            return None
        if chosen == "fail_late":
            return self._answer(500, {"error": "lost my notes"})
        if chosen == "slow":
            time.sleep(SLOW_SECONDS)
        return self._answer(200, {"receipt": charged.receipt})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """The books are the log."""

    def _answer(
        self, status: int, body: dict[str, object], headers: dict[str, str] | None = None
    ) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def main(port: int, folder: Path, seed: int) -> None:
    Desk.books = Books(folder / BOOKS, seed)
    ThreadingHTTPServer(("127.0.0.1", port), Desk).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
