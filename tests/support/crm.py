"""A CRM over real HTTP that misbehaves on command, and writes down every request with its time."""

import base64
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4

LOOPBACK = "127.0.0.1"
FIELDS = ("email", "first_name", "last_name", "company", "phone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as it came; `at` is monotonic."""

    at: float
    method: str
    path: str
    query: dict[str, str]
    key: str | None
    body: Any
    raw: bytes


@dataclass(slots=True, kw_only=True)
class Person:
    """A contact of the CRM."""

    id: str
    fields: dict[str, str | None]
    updated_at: datetime
    version: int = 1
    deleted: bool = False

    def shown(self) -> dict[str, Any]:
        about = {
            "id": self.id,
            "version": str(self.version),
            "updated_at": self.updated_at.isoformat(),
        }
        return {**about, "deleted": True} if self.deleted else {**about, **self.fields}


Manner = Callable[["Conversation"], bool]
"""Does something with a request; True if that was its answer."""


class Conversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def _handle(self) -> None:
        at = time.monotonic()
        crm = self.server.crm
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.asked = Asked(
            at=at,
            method=self.command,
            path=unquote(url.path),
            query={name: values[0] for name, values in parse_qs(url.query).items()},
            key=self.headers.get("idempotency-key"),
            body=json.loads(body) if body else None,
            raw=body,
        )
        with crm.lock:
            crm.asked.append(self.asked)
            manner = crm.manners.popleft() if crm.manners else None
        self.close_connection = True
        with suppress(OSError):
            if manner is None or not manner(self):
                self.answer(*self.result())

    do_GET = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815

    def result(self) -> tuple[int, Any]:
        """What the CRM does, and says, when it is well."""
        crm = self.server.crm
        with crm.lock:
            if self.headers.get("authorization") != f"Bearer {crm.token}":
                return 401, {"error": "who are you?"}
            return crm.respond(self.asked, self.headers.get("if-match", "").strip('"'))

    def answer(self, status: int, body: Any, **headers: str) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Quietly."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 100
    crm: "Crm"


@dataclass(slots=True)
class Crm:
    """`manners` are used up one by one, a request each; `changes` are those that had an effect."""

    token: str = "secret-token"
    page_items: int = 100
    people: dict[str, Person] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    changes: list[tuple[str, str]] = field(default_factory=list)
    manners: deque[Manner | None] = field(default_factory=deque)
    answers: dict[str, tuple[Any, tuple[int, Any]]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    generation: int = 0
    url: str = ""

    def add(self, email: str | None, *, ago: float = 3600, **fields: Any) -> Person:
        """A contact that was last changed `ago` seconds before."""
        values: dict[str, str | None] = {**dict.fromkeys(FIELDS), "email": email, **fields}
        moment = datetime.now(UTC) - timedelta(seconds=ago)
        person = Person(id=uuid4().hex, fields=values, updated_at=moment)
        with self.lock:
            self.people[person.id] = person
        return person

    def edit(self, person: Person, *, ago: float = 0, **fields: str | None) -> None:
        with self.lock:
            person.fields.update(fields)
            self._touch(person, ago)

    def remove(self, person: Person) -> None:
        with self.lock:
            person.deleted = True
            self._touch(person, 0)

    def expire_cursors(self) -> None:
        self.generation += 1

    def of(self, email: str) -> Person:
        (found,) = [one for one in self.people.values() if one.fields["email"] == email]
        return found

    def busiest(self, seconds: float = 1.0) -> int:
        """The most requests that came in any time of that length."""
        times = sorted(one.at for one in self.asked)
        return max(sum(begin <= one < begin + seconds for one in times) for begin in times)

    def respond(self, asked: Asked, version: str) -> tuple[int, Any]:
        if asked.path == "/contacts" and asked.method == "GET":
            return self._page(asked.query)
        if asked.key is not None and asked.key in self.answers:
            body, answer = self.answers[asked.key]
            return answer if body == asked.raw else (422, {"error": "another request's key"})
        answer = self._change(asked, version)
        if asked.key is not None and answer[0] < 300:
            self.answers[asked.key] = (asked.raw, answer)
        return answer

    def _change(self, asked: Asked, version: str) -> tuple[int, Any]:
        if asked.method == "POST":
            return self._create(asked.body)
        person = self.people.get(asked.path.removeprefix("/contacts/"))
        if person is None or person.deleted:
            return 404, {"error": "nobody"}
        if asked.method == "GET":
            return 200, person.shown()
        if version != str(person.version):
            return 412, {"error": "it has changed"}
        if asked.method == "DELETE":
            person.deleted = True
        else:
            twin = self._namesake(asked.body.get("email"))
            if twin not in {None, person.id}:
                return 409, {"id": twin}
            person.fields.update(asked.body)
        self._touch(person, 0)
        self.changes.append((asked.method, person.id))
        return 200, person.shown()

    def _create(self, fields: dict[str, str | None]) -> tuple[int, Any]:
        if not fields.get("email"):
            return 422, {"error": "no address"}
        twin = self._namesake(fields["email"])
        if twin is not None:
            return 409, {"id": twin}
        values: dict[str, str | None] = {**dict.fromkeys(FIELDS), **fields}
        person = Person(id=uuid4().hex, fields=values, updated_at=datetime.now(UTC))
        self.people[person.id] = person
        self.changes.append(("POST", person.id))
        return 201, person.shown()

    def _namesake(self, email: str | None) -> str | None:
        alive = (one for one in self.people.values() if not one.deleted)
        return next((one.id for one in alive if email and one.fields["email"] == email), None)

    def _page(self, query: dict[str, str]) -> tuple[int, Any]:
        """By time of change: whoever changes while somebody pages comes again at the end."""
        since, after, generation = query.get("updated_since", ""), "", self.generation
        if "cursor" in query:
            told = base64.urlsafe_b64decode(query["cursor"]).decode()
            generation, since, after = json.loads(told)
        if generation != self.generation:
            return 410, {"error": "too late"}
        order = sorted((one.updated_at.isoformat(), one.id) for one in self.people.values())
        rest = [(at, one) for at, one in order if at >= since and f"{at} {one}" > after]
        here = rest[: min(self.page_items, int(query["limit"]))]
        cursor = None
        if len(rest) > len(here):
            told = json.dumps([self.generation, since, " ".join(here[-1])])
            cursor = base64.urlsafe_b64encode(told.encode()).decode()
        items = [
            self.people[one].shown() for _, one in here if since or not self.people[one].deleted
        ]
        return 200, {"items": items, "next_cursor": cursor}

    def _touch(self, person: Person, ago: float) -> None:
        person.version += 1
        person.updated_at = datetime.now(UTC) - timedelta(seconds=ago)


def answers(status: int, body: Any = None, **headers: str) -> Manner:
    """Nothing happens, and this is the answer."""

    def manner(talk: Conversation) -> bool:
        talk.answer(status, body or {}, **headers)
        return True

    return manner


def loses_the_answer(talk: Conversation) -> bool:
    """It happens, and the connection breaks in the middle of the answer."""
    status, body = talk.result()
    content = json.dumps(body).encode()
    talk.send_response(status)
    talk.send_header("content-length", str(len(content)))
    talk.end_headers()
    talk.wfile.write(content[: len(content) // 2])
    return True


def after(step: Callable[[], object]) -> Manner:
    """Do `step` first; then as usual."""

    def manner(_: Conversation) -> bool:
        step()
        return False

    return manner


@contextmanager
def crm_server() -> Iterator[Crm]:
    """Serve until the block ends, on any free port of loopback."""
    server = _Server((LOOPBACK, 0), Conversation)
    server.crm = crm = Crm(url=f"http://{LOOPBACK}:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="crm")
    thread.start()
    try:
        yield crm
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
