"""Several messages of brief jobs, for one child at once, as Celery's main process has them.

For Celery each stays a request of its own, with its own events, acknowledgement and end. What is one for all of them is what the
pool is given, and its time limits: the shortest of theirs.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from billiard.einfo import ExceptionInfo
from celery.exceptions import Reject

from app.ledger.put_off import DATABASE_AWAY
from workers.runtime.attempt import Delivery
from workers.runtime.executor import Disposition
from workers.runtime.held import is_brief
from workers.runtime.message import jobs_in
from workers.runtime.registry import registrations
from workers.runtime.request import Request
from workers.runtime.task import run_group
from workers.runtime.together import UNDONE

_WHY = {
    Disposition.HOLD: DATABASE_AWAY,
    Disposition.GIVE_BACK: "no time left",
    Disposition.DEAD_LETTER: "dead",
}


def brief_delivery(request: Request) -> Delivery | None:
    """What a child is given of the request, if it may be one of several: for one brief job, which comes for the first
    time.
    """
    if request.type not in registrations():
        return None
    jobs = jobs_in(request)
    if len(jobs) != 1:
        return None
    (job_id, attempt), facts = jobs[0], request.request_dict
    delivery = Delivery(
        job_id=job_id,
        kind=request.type,
        attempt=attempt,
        worker=request.hostname,
        redelivered=bool(request.delivery_info.get("redelivered")),
        traceparent=facts.get("traceparent"),
    )
    return delivery if is_brief(delivery) else None


class Group:
    """Requests that a child has at once. `settled` is told those whose messages are to be acknowledged, before Celery
    acknowledges each that is still left.
    """

    def __init__(
        self,
        requests: Sequence[Request],
        deliveries: Sequence[Delivery],
        settled: Callable[[Sequence[Request]], None],
    ) -> None:
        self._requests, self._deliveries, self._settled = requests, deliveries, settled
        self._accepted_at = 0.0

    def start(self, pool: Any) -> None:
        """Give it to the pool."""
        specs = [registrations()[one.kind].contract.spec for one in self._deliveries]
        pool.apply_async(
            run_group,
            args=(self._deliveries,),
            accept_callback=self._on_accepted,
            timeout_callback=self._on_timeout,
            callback=self._on_success,
            error_callback=self._on_failure,
            soft_timeout=min(spec.soft_seconds for spec in specs),
            timeout=min(spec.hard_seconds for spec in specs),
        )

    def _on_accepted(self, pid: Any, at: float) -> None:
        self._accepted_at = at
        for request in self._requests:
            request.on_accepted(pid, at)

    def _on_timeout(self, soft: bool, timeout: float) -> None:
        for request in self._requests:
            request.on_timeout(soft, timeout)

    def _on_success(self, said: Sequence[Disposition]) -> None:
        """All have run, well or not."""
        seconds = time.monotonic() - self._accepted_at
        each = list(zip(self._requests, said, strict=True))
        self._settled([request for request, what in each if what is Disposition.ACKNOWLEDGE])
        for request, what in each:
            if what is Disposition.ACKNOWLEDGE:
                request.on_success((0, None, seconds))
            else:
                request.on_failure(_rejection(what), return_ok=True)

    def _on_failure(self, why: Any) -> None:
        """The child is gone."""
        for request in self._requests:
            request.on_failure(why)


def _rejection(what: Disposition) -> ExceptionInfo:
    """As a task that rejects its message leaves it."""
    why = Reject(_WHY[what], requeue=what in UNDONE)
    try:
        raise why
    except Reject:
        return ExceptionInfo()
