"""A collector of traces: OTLP over HTTP, as Jaeger and the OpenTelemetry Collector speak it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from sqlalchemy import Engine

from app.broker.publisher import Publisher
from app.dispatcher import dispatch_batch
from app.ledger.contract import JobContract, catalog
from app.settings import Settings
from app.traces import spans
from tests.support.queues import Queues, headers_of
from tests.support.receiver import Conversation, Receiver, receiving
from tests.support.runtime import Worker
from tests.support.servers import wait_for

CALLER = "4bf92f3577b34da6a3ce929d0e0e4736"
SAMPLED = f"00-{CALLER}-00f067aa0ba902b7-01"
"""What a caller sends who has a trace of its own."""
MARK = "XQ7-nobodys-business"
"""What no span may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A span as it came. Ids are hex; `parent` is "" for the first of a trace; links are (trace, span)."""

    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    facts: dict[str, Any]
    links: set[tuple[str, str]]
    failed: bool
    seconds: float

    @property
    def place(self) -> tuple[str, str]:
        """What others link to."""
        return self.trace, self.id


class Collector:
    """All spans that came in, since the beginning."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver

    @property
    def endpoint(self) -> str:
        return self.receiver.url("")

    @property
    def raw(self) -> bytes:
        """Everything that was sent, headers and all."""
        return b"".join(repr(got.headers).encode() + got.body for got in self.receiver.got)

    def spans(self, name: str = "", *, trace: str = "") -> list[Seen]:
        """In the order of their end, those whose name begins like that."""
        found: list[Seen] = []
        for got in list(self.receiver.got):
            assert got.path == "/v1/traces"
            request = ExportTraceServiceRequest.FromString(got.body)
            for resource in request.resource_spans:
                service = {
                    each.key: each.value.string_value for each in resource.resource.attributes
                }
                for scope in resource.scope_spans:
                    found += [_seen(service["service.name"], span) for span in scope.spans]
        return [span for span in found if span.name.startswith(name) and trace in {"", span.trace}]

    def one(self, name: str, *, trace: str = "") -> Seen:
        """The only one, once it has come."""
        (span,) = self.several(1, name, trace=trace)
        return span

    def several(self, number: int, name: str, *, trace: str = "") -> list[Seen]:
        wait_for(
            lambda: len(self.spans(name, trace=trace)) >= number,
            what=f"{number} spans {name!r}, there are {sorted({s.name for s in self.spans()})}",
        )
        return self.spans(name, trace=trace)


def _seen(service: str, span: Span) -> Seen:
    return Seen(
        service=service,
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        facts={each.key: _value(each.value) for each in span.attributes},
        links={(link.trace_id.hex(), link.span_id.hex()) for link in span.links},
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
    )


def _value(value: Any) -> Any:
    which = value.WhichOneof("value")
    if which == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, which)


@contextmanager
def collecting() -> Iterator[Collector]:
    with receiving() as receiver:
        yield Collector(receiver)


def environment_with(environment: dict[str, str], collector: Collector) -> dict[str, str]:
    """Everything is recorded."""
    return {
        **environment,
        "MILLRACE_OTLP_ENDPOINT": collector.endpoint,
        "MILLRACE_TRACE_RATIO": "1",
        "MILLRACE_OUTBOUND_ALLOWED_NETWORKS": "127.0.0.0/8",
        "MILLRACE_LOG_JSON": "true",
    }


@contextmanager
def tracing(settings: Settings) -> Iterator[None]:
    """The test's own process traces."""
    spans.begin(settings, "test")
    yield
    spans.end()


def hangs(to: Conversation) -> None:
    to.over.wait(30)


def dispatched(settings: Settings, engine: Engine, *contracts: type[JobContract]) -> None:
    publisher = Publisher(settings)
    with engine.begin() as tx:
        dispatch_batch(tx, publisher, batch=100, catalog=catalog(contracts))
    publisher.close()


def delivered(worker: Worker, queues: Queues) -> list[str | None]:
    """Run all that is in the queues, as a child does; what the messages carried."""
    carried: list[str | None] = []
    for message in queues.take_all():
        arguments, traceparent = json.loads(message.body)[1], headers_of(message).get("traceparent")
        jobs = [arguments["job_id"], *(one for one, _ in arguments.get("companions", ()))]
        for job_id in jobs:
            worker.deliver(UUID(job_id), traceparent=traceparent, alone=len(jobs) == 1)
        carried.append(traceparent)
    return carried
