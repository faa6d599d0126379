"""From a span that has ended to the collector: a bounded queue and a thread; what doesn't fit is dropped."""

import logging
import os
import socket
import threading
from collections.abc import Sequence
from importlib.metadata import version

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from app.settings import Settings

log = structlog.get_logger()

FLUSH_SECONDS = 1.0
"""So long, at most, a process that ends waits for its last spans to be taken."""
SEND_SECONDS = 5.0
QUEUE = 2048
BATCH = 512
EVERY_SECONDS = 1.0
_PATH = "/v1/traces"
_LIMITS = SpanLimits(max_span_attribute_length=250, max_links=64)


class Pipeline:
    """Made after a fork: it has a thread. A collector that is away or slow costs spans, and nobody's time."""

    def __init__(self, settings: Settings, service: str) -> None:
        # What it says about the network would come once a batch; `_Exporter` says it once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._exporter = _Exporter(str(settings.otlp_endpoint))
        # Which traces are recorded is decided before a span is made: see `live`.
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource.create(
                {
                    "service.name": service,
                    "service.version": version("millrace"),
                    "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
                }
            ),
            span_limits=_LIMITS,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                self._exporter,
                max_queue_size=QUEUE,
                max_export_batch_size=BATCH,
                schedule_delay_millis=EVERY_SECONDS * 1000,
            )
        )
        self.tracer = self._provider.get_tracer("millrace")

    def close(self) -> None:
        """Send what is left. Returns within FLUSH_SECONDS; what nobody takes by then is dropped."""
        if not self._exporter.well:
            self._exporter.shutdown()
        ending = threading.Thread(target=self._provider.shutdown, name="traces-end", daemon=True)
        ending.start()
        ending.join(FLUSH_SECONDS)
        self._exporter.shutdown()


class _Exporter(SpanExporter):
    """The official one; says once that the collector is away, and once that it is back."""

    def __init__(self, endpoint: str) -> None:
        whole = endpoint.rstrip("/")
        self._inner = OTLPSpanExporter(
            endpoint=whole if whole.endswith(_PATH) else whole + _PATH, timeout=SEND_SECONDS
        )
        self.well = True
        self._ended = False
        self._ending = threading.Lock()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See SpanExporter."""
        result = self._inner.export(spans)
        well = result is SpanExportResult.SUCCESS
        if well and not self.well:
            log.info("traces.exported_again")
        elif self.well and not well:
            log.warning("traces.not_exported", spans=len(spans))
        self.well = well
        return result

    def shutdown(self) -> None:
        """See SpanExporter. Whatever comes now, or waits to be tried again, fails at once."""
        with self._ending:
            if not self._ended:
                self._inner.shutdown()  # type: ignore[no-untyped-call]
            self._ended = True
