"""The traces of a process that has a collector: which spans there are, and what they hang from.

Whether a trace is recorded is decided once, where it begins, by our own dice: never by what a caller says.
From then on its contexts say so. What isn't recorded makes no span at all, so that it costs next to nothing.

enqueue -> dispatch -> run     one trace, where one follows the other within LINK_AFTER_SECONDS
                               else, and for every attempt but the first: a new trace, linked to where the
                               job was enqueued
"""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from opentelemetry import context, trace
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
)
from opentelemetry.util.types import AnyValue

from app.ids import made_at
from app.settings import Settings
from app.traces.context import below, judged, packed, unpacked, unpacked_strange
from app.traces.exporting import Pipeline
from app.traces.spans import Due, Facts, Heard, Sent

LINK_AFTER_SECONDS = 60.0
"""Younger than this, a job's first attempt belongs to the trace that enqueued it."""
_DICE = 1 << 32


class Live:
    """See `app.traces.spans`. Safe to share between threads."""

    def __init__(self, settings: Settings, service: str) -> None:
        self._pipeline = Pipeline(settings, service)
        self._tracer = self._pipeline.tracer
        self._ratio = settings.trace_ratio

    def close(self) -> None:
        """Send what is left; returns within a second."""
        self._pipeline.close()

    def carried(self) -> str | None:
        """See `spans`."""
        place = trace.get_current_span().get_span_context()
        return packed(place) if place.is_valid else None

    def place_of(self, span: Span) -> str:
        """Its traceparent."""
        return packed(span.get_span_context())

    def note(self, facts: Facts) -> None:
        """See `spans`."""
        span = trace.get_current_span()
        if span.is_recording():
            span.set_attributes(facts)

    def fail(self, code: str) -> None:
        """See `spans`."""
        failed(trace.get_current_span(), code)

    def recording(self) -> bool:
        """See `spans`."""
        return trace.get_current_span().is_recording()

    def child(self, name: str, facts: Facts) -> Span | None:
        """See `spans.start`."""
        if not trace.get_current_span().is_recording():
            return None
        return self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=facts)

    @contextmanager
    def request(self, traceparent: str | None, facts: Facts) -> Iterator[Span]:
        """Around a request that we answer; it goes on with its caller's trace, by our own dice."""
        caller = unpacked_strange(traceparent)
        span: Span
        if random.random() < self._ratio:  # noqa: S311
            parent = judged(caller, sampled=True) if caller else None
            span = self._tracer.start_span(
                "request", below(parent), kind=SpanKind.SERVER, attributes=facts
            )
        else:
            span = NonRecordingSpan(judged(caller, sampled=False))
        with _current(span):
            yield span

    @contextmanager
    def enqueuing(self, kinds: Sequence[str], traceparent: str | None) -> Iterator[str | None]:
        """See `spans`. Jobs that begin a trace of their own draw for it here."""
        current = trace.get_current_span()
        place = current.get_span_context()
        links: list[Link] = []
        wanted = current.is_recording()
        if not place.is_valid:
            origin = unpacked(traceparent)
            wanted = origin.trace_flags.sampled if origin else random.random() < self._ratio  # noqa: S311
            links = [Link(origin)] if origin else []
            place = origin or judged(None, sampled=False)
        if not wanted:
            yield packed(place)
            return
        name = f"enqueue {kinds[0]}" if len(set(kinds)) == 1 else "enqueue"
        facts: Facts = {"messaging.operation.name": "enqueue", "millrace.jobs": len(kinds)}
        span = self._tracer.start_span(name, links=links, kind=SpanKind.PRODUCER, attributes=facts)
        with _current(span):
            yield packed(span.get_span_context())

    def send(self, group: Sequence[Due]) -> Sent:
        """See `spans`. One span for the message: below the first recorded job's that is fresh, with links
        to the others'.
        """
        recorded = [(job, unpacked(job.traceparent)) for job in group if self._is_recorded(job)]
        if not recorded:
            return Sent(group[0].traceparent)
        parent = next(
            (at for job, at in recorded if at and _is_fresh(job.id, job.attempt + 1)), None
        )
        span = self._tracer.start_span(
            f"dispatch {group[0].kind}",
            below(parent),
            kind=SpanKind.PRODUCER,
            links=_links([at for _, at in recorded], parent),
            attributes=_sent(group, [str(job.id) for job, _ in recorded]),
        )
        return Sent(packed(span.get_span_context()), span)

    def attempt(self, heard: Heard, facts: Facts) -> Span:
        """An attempt of a job has begun; the caller calls `enter` and `leave`."""
        origin = unpacked(heard.origin)
        wanted = origin.trace_flags.sampled if origin else self._draw(heard.id)
        if not wanted:
            return NonRecordingSpan(origin or judged(None, sampled=False))
        message = unpacked(heard.message)
        if message is not None and not message.trace_flags.sampled:
            message = None
        fresh = origin if _is_fresh(heard.id, heard.attempt) else None
        mine = message is not None and (
            heard.alone or (fresh is not None and message.trace_id == fresh.trace_id)
        )
        parent = message if mine else fresh
        if origin is not None and parent is not None and origin.trace_id == parent.trace_id:
            origin = None  # the trace itself says where it comes from
        span = self._tracer.start_span(
            f"run {heard.kind}",
            below(parent),
            kind=SpanKind.CONSUMER,
            links=_links([origin, message], parent),
            attributes=facts,
            start_time=heard.began,
        )
        claim = self._tracer.start_span(
            "claim", trace.set_span_in_context(span), start_time=heard.began
        )
        claim.end()
        return span

    def enter(self, span: Span) -> object:
        """Make the span the current one; the answer is for `leave`."""
        return context.attach(trace.set_span_in_context(span))

    def leave(self, span: Span, token: Any) -> None:
        """The span has ended."""
        context.detach(token)
        span.end()

    def _is_recorded(self, job: Due) -> bool:
        if job.traceparent is None:
            return self._draw(job.id)
        return job.traceparent[-1:] in "13579bdf"

    def _draw(self, job_id: UUID) -> bool:
        """For a job that was enqueued where nothing traces: all its attempts, or none."""
        return job_id.int % _DICE < self._ratio * _DICE


def _sent(group: Sequence[Due], ids: Sequence[str]) -> Mapping[str, AnyValue]:
    return {
        "messaging.system": "rabbitmq",
        "messaging.operation.type": "send",
        "messaging.operation.name": "dispatch",
        "messaging.destination.name": group[0].queue,
        "messaging.batch.message_count": len(group),
        "millrace.job.ids": ids,
    }


def blame(span: Span, error: BaseException) -> None:
    """Say by its type alone what went wrong."""
    state = getattr(error, "sqlstate", None)
    failed(span, f"{type(error).__name__}[{state}]" if state else type(error).__name__)


def failed(span: Span, code: str) -> None:
    """What the span is about went wrong."""
    span.set_attribute("error.type", code)
    span.set_status(Status(StatusCode.ERROR, code))


@contextmanager
def _current(span: Span) -> Iterator[None]:
    with trace.use_span(span, record_exception=False, set_status_on_exception=False):
        try:
            yield
        except BaseException as error:
            blame(span, error)
            raise
        finally:
            span.end()


def _is_fresh(job_id: UUID, attempt: int) -> bool:
    return attempt == 1 and time.time() - made_at(job_id) <= LINK_AFTER_SECONDS


def _links(places: Sequence[SpanContext | None], parent: SpanContext | None) -> list[Link]:
    """To each place that the span doesn't hang from, once."""
    found = {at.span_id: at for at in places if at is not None and at != parent}
    return [Link(at) for at in found.values()]
