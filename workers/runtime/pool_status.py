"""The worker's main process shows what its children counted, how its pool does, and its health."""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from billiard.process import current_process
from celery import Celery, bootsteps
from celery.signals import worker_process_init
from celery.worker import state
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from app.db import reach_once
from app.health import Probe
from app.metrics import declared
from app.metrics.board import Board
from app.metrics.declared import Process
from app.metrics.registry import registry
from app.metrics.serving import StatusServer
from app.settings import Settings
from workers.runtime import metering
from workers.runtime.database_away import DatabaseAway
from workers.runtime.registry import registrations
from workers.runtime.vitals import Vitals

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_COUNTED = (
    declared.ATTEMPTS,
    declared.TIMEOUTS,
    declared.WAIT_SECONDS,
    declared.RUN_SECONDS,
    declared.TRIES,
    declared.IMPORT_ROWS,
)


class PoolCollector(Collector):
    """A collector of prometheus_client's: reads the board, and the size of the children from /proc.

    `slots` says how many children the pool has, `unacknowledged` how many messages it holds.
    """

    def __init__(
        self,
        board: Board,
        *,
        pool: str,
        slots: Callable[[], int],
        unacknowledged: Callable[[], int],
    ) -> None:
        self._board = board
        self._pool = pool
        self._slots = slots
        self._unacknowledged = unacknowledged
        self._busy_seconds = 0.0

    def describe(self) -> Iterable[Family]:
        """Nothing is read when it is registered."""
        return ()

    def collect(self) -> Iterable[Family]:
        """Everything as of now."""
        for metric in _COUNTED:
            yield from self._board.families(metric)
        begins = [since for since in self._board.cells(metering.SINCE) if since]
        yield self._gauge(declared.SLOTS, self._slots())
        yield self._gauge(declared.SLOTS_BUSY, len(begins))
        yield self._counter(declared.BUSY_SECONDS, self._busy(begins))
        yield self._counter(declared.CHILDREN_STARTED, self._board.value(metering.STARTED))
        yield self._gauge(declared.CHILDREN_MEMORY, self._memory())
        yield self._gauge(declared.UNACKNOWLEDGED, self._unacknowledged())

    def _busy(self, begins: Iterable[float]) -> float:
        """What has ended and what goes on. Read while a child moves the one to the other, the sum may be
        short; a counter never falls.
        """
        now = time.monotonic()
        going_on = sum(max(0.0, now - since) for since in begins)
        self._busy_seconds = max(self._busy_seconds, self._board.value(metering.BUSY) + going_on)
        return self._busy_seconds

    def _memory(self) -> int:
        return sum(_resident_bytes(int(pid)) for pid in self._board.cells(metering.PID) if pid)

    def _gauge(self, metric: declared.Metric, value: float) -> Family:
        family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
        family.add_metric([self._pool], value)
        return family

    def _counter(self, metric: declared.Metric, value: float) -> Family:
        family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
        family.add_metric([self._pool], value)
        return family


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0


class PoolStatus(bootsteps.StartStopStep):
    """Before the pool forks there is a board; until the worker ends there is a server."""

    requires = ("celery.worker.components:Timer",)
    settings: Settings
    board: Board | None = None
    server: StatusServer | None = None
    queues: Mapping[str, str] = {}

    @classmethod
    def install(cls, app: Celery, settings: Settings) -> None:
        """For the app's workers; without a port nothing is counted."""
        if settings.metrics_port:
            cls.settings = settings
            app.steps["worker"].add(cls)
            worker_process_init.connect(cls.begin_child)

    def __init__(self, parent: Any, *, autoscale: Any = None, **options: Any) -> None:
        cls = type(self)
        cls.queues = {kind: one.contract.spec.queue.value for kind, one in registrations().items()}
        # Celery reads `--autoscale` in a later step.
        most = max(autoscale) if autoscale else parent.concurrency
        cls.board = metering.make_board(cls.queues, children=most)
        super().__init__(parent, **options)

    @classmethod
    def begin_child(cls, **_: Any) -> None:
        """In a child that was just forked: it is the only one with its index."""
        if cls.server is not None:
            cls.server.let_go()
        if cls.board is not None:
            child: Any = current_process()
            metering.begin_child(cls.board, child.index, cls.queues)

    def start(self, parent: Any) -> None:
        """Show it all."""
        cls = type(self)
        assert cls.board is not None
        metering.begin_main(cls.board, cls.queues)
        collector = PoolCollector(
            cls.board,
            pool=parent.hostname.partition("@")[0],
            slots=lambda: int(parent.pool.num_processes),
            unacknowledged=lambda: (
                len(state.reserved_requests) + parent.consumer.kept + len(DatabaseAway.holding)
            ),
        )
        shown = registry(Process.WORKER)
        shown.register(collector)
        cls.server = StatusServer(
            cls.settings,
            shown,
            heartbeat=Vitals.heartbeat,
            checks={
                "broker": Vitals.of_broker,
                "database": Probe(lambda: reach_once(cls.settings)),
            },
        )
        cls.server.start()

    def stop(self, _parent: Any) -> None:
        """The worker has drained."""
        server = type(self).server
        if server is not None:
            server.stop()
