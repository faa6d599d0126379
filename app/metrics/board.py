"""What a worker's children count, in memory that they share with the main process, which shows it.

A child has a row of its own and writes nothing but that row: no lock, no system call, a fraction of a
microsecond a cell. The memory is the main process's: what a child counted stays when it is recycled or killed,
and its successor goes on counting in the same row, so no figure ever falls. There are as many rows as there can be
children, and no files.

prometheus_client's own multiprocess mode keeps a file per child and metric type: thousands of them a day where
children are recycled, each read at every scrape (docs/decisions/0023-what-workers-count.md).
"""

import mmap
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, product

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

from app.metrics.declared import Metric, Type

CELL_BYTES = 8


class Series:
    """The cells of one metric with one set of label values, from `first` on.

    A counter has one cell; a histogram one for each bucket, one for what is above, and the sum.
    """

    __slots__ = ("buckets", "first", "labels", "metric", "size")

    def __init__(self, metric: Metric, labels: tuple[str, ...], first: int) -> None:
        self.metric = metric
        self.labels = labels
        self.first = first
        self.buckets = metric.buckets
        self.size = len(metric.buckets) + 2 if metric.type is Type.HISTOGRAM else 1


class Board:
    """`rows` children, and for each a cell for everything that can be counted: the labels' values are known."""

    def __init__(self, rows: int, shown: Mapping[Metric, Sequence[Sequence[str]]]) -> None:
        """`shown`: for each metric the values of its labels, a sequence for each set that there is."""
        self.rows = rows
        self._series: dict[tuple[Metric, tuple[str, ...]], Series] = {}
        width = 0
        for metric, sets in shown.items():
            for labels in sets:
                series = Series(metric, tuple(labels), width)
                self._series[metric, series.labels] = series
                width += series.size
        self._width = width
        self._memory = mmap.mmap(-1, max(1, rows * width) * CELL_BYTES)
        self._cells: memoryview[float] = memoryview(self._memory).cast("d")

    def row(self, index: int) -> "Row":
        """To write with, for the one process that has this row. Indices beyond the last share rows."""
        start = index % self.rows * self._width
        return Row(self._cells[start : start + self._width], self._series)

    def value(self, metric: Metric, *labels: str) -> float:
        """A counter over all rows."""
        return self._sum(self._series[metric, labels].first)

    def cells(self, metric: Metric, *labels: str) -> list[float]:
        """A counter's cell in each row."""
        first = self._series[metric, labels].first
        return [self._cells[row * self._width + first] for row in range(self.rows)]

    def families(self, metric: Metric) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        """For Prometheus."""
        mine = [series for (owner, _), series in self._series.items() if owner is metric]
        if metric.type is Type.HISTOGRAM:
            yield self._histogram(metric, mine)
        else:
            yield self._counter(metric, mine)

    def _counter(self, metric: Metric, mine: Sequence[Series]) -> CounterMetricFamily:
        family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
        for series in mine:
            family.add_metric(series.labels, self._sum(series.first))
        return family

    def _histogram(self, metric: Metric, mine: Sequence[Series]) -> HistogramMetricFamily:
        family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        bounds = [*(floatToGoString(bound) for bound in metric.buckets), "+Inf"]  # type: ignore[no-untyped-call]
        for series in mine:
            counts = [self._sum(series.first + number) for number in range(len(bounds))]
            total = self._sum(series.first + len(bounds))
            family.add_metric(
                series.labels,
                buckets=list(zip(bounds, accumulate(counts), strict=True)),
                sum_value=total,
            )
        return family

    def _sum(self, cell: int) -> float:
        return sum(self._cells[row * self._width + cell] for row in range(self.rows))


class Row:
    """One child's cells. Not for use by several threads, nor by two processes."""

    __slots__ = ("_cells", "_series")

    def __init__(
        self, cells: "memoryview[float]", series: Mapping[tuple[Metric, tuple[str, ...]], Series]
    ) -> None:
        self._cells = cells
        self._series = series

    def add(self, metric: Metric, *labels: str, amount: float = 1.0) -> None:
        """Count. Labels that the board doesn't know are counted nowhere."""
        series = self._series.get((metric, labels))
        if series is not None:
            self._cells[series.first] += amount

    def get(self, metric: Metric, *labels: str) -> float:
        """The cell of a counter."""
        return self._cells[self._series[metric, labels].first]

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """For the few cells that are no counters to their writer."""
        self._cells[self._series[metric, labels].first] = value

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Into a histogram. A bucket holds what is not above its bound."""
        series = self._series.get((metric, labels))
        if series is not None:
            first, buckets = series.first, series.buckets
            self._cells[first + bisect_left(buckets, value)] += 1.0
            self._cells[first + len(buckets) + 1] += value


def each(*values: Sequence[str]) -> list[tuple[str, ...]]:
    """Every combination, for `shown`."""
    return list(product(*values))
