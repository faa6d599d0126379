"""What a person does while jobs run: cancels some, puts right what killed others and replays them."""

import heapq
import threading
import time
from collections.abc import Callable
from uuid import UUID

import psycopg

from tests.chaos.journal import Journal
from tests.chaos.poster import Client, NoAnswer, Request

_LOOK_SECONDS = 0.2
_DEAD = """
    SELECT id FROM jobs WHERE id = ANY(%s) AND state = 'dead'
"""
_MEND = "INSERT INTO chaos_mercy SELECT unnest(%s::int[]) ON CONFLICT DO NOTHING"
_FINE = {200, 202, 409}
"""409: it has ended already, and that's an answer."""


class Aftercare:
    """Follows the journal until `stop`, and then until nothing is left to do."""

    def __init__(
        self,
        journal: Journal,
        *,
        client: Callable[[], Client],
        database: Callable[[], psycopg.Connection],
    ) -> None:
        self._journal = journal
        self._client = client()
        self._database = database
        self._seen = 0
        self._cancels: list[tuple[float, int, UUID]] = []
        self._sick: dict[UUID, tuple[int, int]] = {}
        """Job -> its number, and how often it is still to be replayed."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="aftercare", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        """No order comes any more."""
        self._stopping.set()

    @property
    def done(self) -> bool:
        """Whether every order has been looked after, and none comes any more."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            last = self._stopping.is_set()
            self._read()
            self._cancel_due()
            self._replay_dead()
            left = len(self._cancels) + len(self._sick)
            if last and not left and self._seen == len(self._journal.accepted):
                self._client.close()
                return
            time.sleep(_LOOK_SECONDS)

    def _read(self) -> None:
        new = self._journal.accepted[self._seen :]
        self._seen += len(new)
        for accepted in new:
            order = accepted.order
            if order.cancel_in is not None:
                due = accepted.answered + order.cancel_in
                heapq.heappush(self._cancels, (due, order.number, accepted.id))
            if order.replays:
                self._sick[accepted.id] = (order.number, order.replays)

    def _cancel_due(self) -> None:
        while self._cancels and self._cancels[0][0] <= time.time():
            _, number, job_id = heapq.heappop(self._cancels)
            self._post(f"/v1/jobs/{job_id}/cancel", number)

    def _replay_dead(self) -> None:
        if not self._sick:
            return
        try:
            with self._database() as tx:
                dead = [row[0] for row in tx.execute(_DEAD, [list(self._sick)])]
                last = [self._sick[job_id][0] for job_id in dead if self._sick[job_id][1] == 1]
                tx.execute(_MEND, [last])
        except psycopg.Error:
            return  # it is being struck; another look will come
        for job_id in dead:
            number, left = self._sick.pop(job_id)
            self._post(f"/v1/jobs/{job_id}/retry", number)
            if left > 1:
                self._sick[job_id] = (number, left - 1)

    def _post(self, path: str, number: int) -> None:
        request = Request(method="POST", path=path, body=b"", headers={})
        try:
            answer = self._client.send(request)
        except NoAnswer as error:
            self._journal.refuse(f"order {number}: no answer to {error}")
            return
        if answer.status not in _FINE:
            self._journal.refuse(f"order {number}: {path}: {answer.status} {answer.body[:300]!r}")
