"""Prometheus's own objects for what web and dispatcher count. A worker's are in `board`."""

from functools import cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from app.metrics.declared import Metric, Process, Type

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter and histogram, of which nobody asks


@cache
def registry(process: Process) -> CollectorRegistry:  # noqa: ARG001 - one for each
    """What the process shows, its memory and processor time included."""
    made = CollectorRegistry()
    ProcessCollector(registry=made)
    return made


@cache
def counter(metric: Metric) -> Counter:
    """The one counter of that name. Raises ValueError where it is declared as something else."""
    _expect(metric, Type.COUNTER)
    return Counter(metric.name, metric.help, metric.labels, registry=registry(metric.process))


@cache
def gauge(metric: Metric) -> Gauge:
    """As `counter`."""
    _expect(metric, Type.GAUGE)
    return Gauge(metric.name, metric.help, metric.labels, registry=registry(metric.process))


@cache
def histogram(metric: Metric) -> Histogram:
    """As `counter`."""
    _expect(metric, Type.HISTOGRAM)
    return Histogram(
        metric.name,
        metric.help,
        metric.labels,
        registry=registry(metric.process),
        buckets=metric.buckets,
    )


def _expect(metric: Metric, wanted: Type) -> None:
    if metric.type is not wanted:
        raise ValueError(f"{metric.name} is a {metric.type}, not a {wanted}")
