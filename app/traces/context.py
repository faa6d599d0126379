"""Trace contexts, from and to a `traceparent` (https://www.w3.org/TR/trace-context/)."""

import re

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_OURS = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_FORMAT = TraceContextTextMapPropagator()
_IDS = RandomIdGenerator()
SAMPLED = TraceFlags(TraceFlags.SAMPLED)
UNSAMPLED = TraceFlags(TraceFlags.DEFAULT)


def unpacked(traceparent: str | None) -> SpanContext | None:
    """One that we wrote ourselves; None for anything else."""
    found = None if traceparent is None else _OURS.fullmatch(traceparent)
    if found is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    return SpanContext(trace_id, span_id, True, TraceFlags(flags))


def unpacked_strange(traceparent: str | None) -> SpanContext | None:
    """Whoever wrote it, in whatever version; None for what is no traceparent."""
    if traceparent is None:
        return None
    found = _FORMAT.extract({"traceparent": traceparent}, Context())
    context = trace.get_current_span(found).get_span_context()
    return context if context.is_valid else None


def packed(context: SpanContext) -> str:
    """The traceparent."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def below(parent: SpanContext | None) -> Context:
    """For a span below `parent`, or for the first one of a trace."""
    return (
        Context()
        if parent is None
        else trace.set_span_in_context(NonRecordingSpan(parent), Context())
    )


def judged(context: SpanContext | None, *, sampled: bool) -> SpanContext:
    """The same place with our own word on whether it is recorded; a new one for None."""
    return SpanContext(
        trace_id=context.trace_id if context else _IDS.generate_trace_id(),
        span_id=context.span_id if context else _IDS.generate_span_id(),
        is_remote=True,
        trace_flags=SAMPLED if sampled else UNSAMPLED,
    )
