"""What an attempt leaves behind: the ids in its log lines, and its span."""

import time
from collections.abc import Mapping
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self
from uuid import UUID

from app.ledger.store import Claimed
from app.logs import Ids, bind, unbind
from app.traces import spans

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from app.traces.live import Live


class Delivered(Protocol):
    """A message, as far as it is of interest here. `traceparent` is what it carries; `alone`: it is for one
    job only.
    """

    @property
    def job_id(self) -> UUID: ...  # noqa: D102

    @property
    def kind(self) -> str: ...  # noqa: D102

    @property
    def worker(self) -> str: ...  # noqa: D102

    @property
    def traceparent(self) -> str | None: ...  # noqa: D102

    @property
    def alone(self) -> bool: ...  # noqa: D102


class Trail:
    """Around one delivery. From `claimed` on every line that is written has the attempt's ids, and what is
    asked of other systems is a span below the attempt's.
    """

    def __init__(self, delivery: Delivered) -> None:
        self._delivery = delivery
        self._ids: Ids = {}
        self._bound: Token[Any] | None = None
        self._span: Span | None = None
        self._token: object = None
        self._live: Live | None = None
        self._began = 0

    def __enter__(self) -> Self:
        """Every line has the job's id, its kind and the worker."""
        named = self._delivery
        self._began = time.time_ns()
        self._ids = {"job_id": str(named.job_id), "kind": named.kind, "worker": named.worker}
        self._bound = bind(self._ids)
        return self

    def claimed(self, job: Claimed) -> None:
        """The job is ours. Again for the same delivery: nothing new."""
        ids = self._ids
        if "attempt" in ids:
            return
        ids["tenant_id"], ids["attempt"] = str(job.tenant_id), job.attempt
        traceparent = job.traceparent
        live = spans.live()
        if live is not None:
            given = self._delivery
            self._span = live.attempt(
                spans.Heard(
                    id=job.id,
                    kind=job.kind,
                    attempt=job.attempt,
                    message=given.traceparent,
                    origin=traceparent,
                    alone=given.alone,
                    began=self._began,
                ),
                _facts(job, given.worker),
            )
            self._token = live.enter(self._span)
            self._live = live
            traceparent = live.place_of(self._span)
        if traceparent is not None:
            ids["trace_id"] = str(spans.trace_id_of(traceparent))

    @property
    def ids(self) -> Mapping[str, object]:
        """What the attempt's lines have."""
        return self._ids

    def ended(self, outcome: str) -> None:
        """What became of it."""
        if self._span is not None:
            self._span.set_attribute("millrace.job.outcome", outcome)

    def __exit__(
        self, _kind: object, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Lines from here on have none of it."""
        if self._live is not None and self._span is not None:
            self._live.leave(self._span, self._token)
        if self._bound is not None:
            unbind(self._bound)


def _facts(job: Claimed, worker: str) -> spans.Facts:
    waited = {} if job.waited_seconds is None else {"millrace.job.waited_s": job.waited_seconds}
    return {
        "messaging.system": "rabbitmq",
        "messaging.operation.type": "process",
        "messaging.operation.name": "run",
        "messaging.destination.name": job.queue,
        "millrace.job.id": str(job.id),
        "millrace.job.kind": job.kind,
        "millrace.job.attempt": job.attempt,
        "millrace.job.taken_over": job.taken_over,
        "millrace.tenant.id": str(job.tenant_id),
        "millrace.worker": worker,
        **waited,
    }
