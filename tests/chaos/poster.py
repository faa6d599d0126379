"""The client: posts every order through the public API, again and again until it has an answer."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from infra.local.ports import LOOPBACK
from tests.chaos.journal import Accepted, Journal
from tests.chaos.orders import Order, import_csv

THREADS = 6
ANSWER_SECONDS = 8.0
"""As long as a patient client waits before it asks the other process."""
GIVE_UP_SECONDS = 120.0
_PAUSE_SECONDS = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it is sent, however often."""

    method: str
    path: str
    body: bytes
    headers: Mapping[str, str]
    not_before: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`asked` and `answered` are of the attempt that was answered, by `web`."""

    status: int
    body: bytes
    web: str
    asked: float
    answered: float


class NoAnswer(Exception):
    """Neither web process answered for a long time."""


class Client:
    """Speaks to both web processes in turn; one per thread.

    A request that gets no answer, or a 5xx or 429, is sent again to the other process: with the same
    Idempotency-Key it is the same request.
    """

    def __init__(self, webs: Mapping[str, int], key: str, journal: Journal) -> None:
        self._webs = webs
        self._authorization = {"Authorization": f"Bearer {key}"}
        self._journal = journal
        self._order = list(webs)
        self._open: dict[str, http.client.HTTPConnection] = {}

    def send(self, request: Request) -> Answer:
        """Raises NoAnswer."""
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < deadline:
            self._order.append(web := self._order.pop(0))
            try:
                answer = self._ask(web, request)
            except (OSError, http.client.HTTPException):
                self._close(web)
            else:
                if answer.status < 500 and answer.status != http.client.TOO_MANY_REQUESTS:
                    return answer
            self._journal.repeat()
            time.sleep(_PAUSE_SECONDS)
        raise NoAnswer(f"{request.method} {request.path}")

    def close(self) -> None:
        for web in list(self._open):
            self._close(web)

    def _ask(self, web: str, request: Request) -> Answer:
        connection = self._open.get(web)
        if connection is None:
            connection = http.client.HTTPConnection(
                LOOPBACK, self._webs[web], timeout=ANSWER_SECONDS
            )
            self._open[web] = connection
        asked = time.time()
        connection.request(
            request.method,
            request.path,
            request.body,
            {**self._authorization, **request.headers},
        )
        answer = connection.getresponse()
        body = answer.read()
        if answer.will_close:
            self._close(web)
        return Answer(status=answer.status, body=body, web=web, asked=asked, answered=time.time())

    def _close(self, web: str) -> None:
        connection = self._open.pop(web, None)
        if connection is not None:
            connection.close()


class Poster:
    """Posts the orders from several threads, at a rate that may change; `run` returns when all are in."""

    def __init__(
        self,
        orders: Sequence[Order],
        *,
        seed: int,
        client: Callable[[], Client],
        journal: Journal,
    ) -> None:
        self._waiting = [(order, post) for order in reversed(orders) for post in range(order.posts)]
        self._seed = seed
        self._client = client
        self._journal = journal
        self._lock = threading.Lock()
        self._next = time.monotonic()
        self.total = len(self._waiting)
        self.rate = 20.0
        """Requests a second."""
        self.stopped = threading.Event()

    @property
    def left(self) -> int:
        return len(self._waiting)

    def run(self) -> None:
        threads = [
            threading.Thread(target=self._post, name=f"poster-{number}", daemon=True)
            for number in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _post(self) -> None:
        client = self._client()
        while not self.stopped.is_set():
            taken = self._take()
            if taken is None:
                break
            order, post = taken
            self._place(client, order, post)
        client.close()

    def _take(self) -> tuple[Order, int] | None:
        """The next order, when its time has come."""
        with self._lock:
            if not self._waiting:
                return None
            taken = self._waiting.pop()
            self._next = max(self._next + 1 / self.rate, time.monotonic() - 1.0)
            pause = self._next - time.monotonic()
        if pause > 0:
            self.stopped.wait(pause)
        return taken

    def _place(self, client: Client, order: Order, post: int) -> None:
        request = request_for(order, seed=self._seed, post=post)
        try:
            answer = client.send(request)
        except NoAnswer as error:
            self._journal.refuse(f"order {order.number} ({order.name}): no answer to {error}")
            return
        if answer.status == http.client.UNPROCESSABLE_ENTITY and order.deadline_in is not None:
            self._journal.come_too_late()
            return
        if answer.status != http.client.ACCEPTED:
            self._journal.refuse(
                f"order {order.number} ({order.name}): {answer.status} {answer.body[:300]!r}"
            )
            return
        self._journal.accept(
            Accepted(
                order=order,
                id=UUID(json.loads(answer.body)["id"]),
                web=answer.web,
                asked=answer.asked,
                answered=answer.answered,
                not_before=request.not_before,
            )
        )


def request_for(order: Order, *, seed: int, post: int) -> Request:
    """The order as a request; times are reckoned from now."""
    headers = {"Idempotency-Key": f"chaos-{seed}-{order.number}-{post}"}
    if order.kind is None:
        return Request(
            method="POST",
            path=f"/v1/imports?filename=order-{order.number}.csv",
            body=import_csv(order),
            headers={**headers, "Content-Type": "text/csv"},
        )
    now = datetime.now(UTC)
    wish: dict[str, object] = {"kind": order.kind, "payload": order.payload}
    for name, seconds in (("run_at", order.run_in), ("deadline", order.deadline_in)):
        if seconds is not None:
            wish[name] = (now + timedelta(seconds=seconds)).isoformat()
    if order.posts > 1:
        wish["unique_key"] = f"order-{order.number}"
    return Request(
        method="POST",
        path="/v1/jobs",
        body=json.dumps(wish).encode(),
        headers={**headers, "Content-Type": "application/json"},
        not_before=None if order.run_in is None else now.timestamp() + order.run_in,
    )
