"""A prefork pool that follows its queue: `celery worker --autoscale=MAX,MIN`, and no pool without it.

Celery's own autoscaler counts the messages that this process has reserved, which says nothing of a backlog that
lives in the ledger, and may end a child that was just given a job. This one asks the scaling policy, of which a
child is a replica, every MILLRACE_SCALING_POLL_SECONDS in a thread; the event loop brings the pool to the size that
was wanted. While the database is away nothing is wanted anew: the pool keeps its size.
"""

import sys
import threading
import time
from collections.abc import Iterator
from itertools import islice
from math import ceil
from typing import Any, NoReturn

import structlog
from celery.concurrency.prefork import TaskPool
from celery.exceptions import ImproperlyConfigured
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.ledger.pressure import read_pressure
from app.logs import cause
from app.scaling.policy import ScalingPolicy, Seen, Wanted, decide
from app.server_limits import REFUSED
from app.settings import Settings, get_settings
from workers.runtime.vitals import turn_at_the_database

log = structlog.get_logger()

MESSAGES_PER_CHILD = 50
"""100 for each replica of two, as everywhere."""


def policy_of(settings: Settings, *, most: int, least: int) -> ScalingPolicy:
    """The scaling policy of a pool whose replicas are children."""
    return ScalingPolicy(
        min_replicas=least,
        max_replicas=most,
        messages_per_replica=MESSAGES_PER_CHILD,
        workers_per_replica=1,
        drain_seconds=settings.scaling_drain_seconds,
        max_lag_seconds=settings.scaling_max_lag_seconds,
        poll_seconds=settings.scaling_poll_seconds,
        down_window_seconds=settings.scaling_down_seconds,
    )


def planned_children(settings: Settings, pool: str) -> int:
    """How many children a worker of the pool has in the plan of connections."""
    planned = (one.children for one in settings.processes.workers if one.pool == pool)
    return next(planned, None) or settings.worker_concurrency


class LagAutoscaler:
    """Named in the `worker_autoscaler` setting; Celery makes one where `--autoscale` is given.

    Exits with REFUSED where it can't work with the pool or its bounds, and where the most children are more than the plan
    of connections has for the pool.
    """

    keepalive = 1.0
    """Celery calls `maybe_scale` this often, from its event loop."""

    def __init__(
        self,
        pool: Any,
        max_concurrency: int,
        min_concurrency: int = 0,
        *,
        worker: Any,
        mutex: Any = None,  # noqa: ARG002 - Celery gives it; only the event loop changes the pool
    ) -> None:
        prefork = issubclass(worker.pool_cls, TaskPool)
        if not (prefork and worker.use_eventloop and 1 <= min_concurrency <= max_concurrency):
            # Celery gives a least of 0 where one number is said.
            _refuse(
                f"--autoscale={max_concurrency},{min_concurrency} of a pool of {worker.pool_cls.__module__}.",
                "Say --autoscale=MAX,MIN with 1 <= MIN <= MAX, and leave --pool at prefork.",
            )
        settings = get_settings()
        self._queues = sorted(worker.app.amqp.queues.consume_from)
        _refuse_unplanned(settings, self._queues[0], max_concurrency)
        self._pool = pool
        self._worker = worker
        self._settings = settings
        self._policy = policy_of(settings, most=max_concurrency, least=min_concurrency)
        self._wanted = Wanted(time.monotonic(), min_concurrency, "start")
        # For the thread, which can't ask the pool itself: a worker that ends is without one first.
        self._size = min_concurrency
        self._watching: threading.Thread | None = None

    def maybe_scale(self, request: Any = None) -> None:
        """A step towards the size that is wanted. Celery also calls it with each message: then it does nothing."""
        if request is not None:
            return
        if self._watching is None:
            self._watching = threading.Thread(target=self._watch, name="autoscaler", daemon=True)
            self._watching.start()
        size, wanted = self._pool.num_processes, self._wanted
        if wanted.replicas > size:
            self._pool.grow(wanted.replicas - size)
            self._pool.maintain_pool()
        elif wanted.replicas < size:
            retire(self._pool._pool, size - wanted.replicas)  # noqa: SLF001
        if self._pool.num_processes != size:
            self._worker.consumer.follow_pool()
            now = self._pool.num_processes
            log.info("worker.scaled", was=size, now=now, because=wanted.because)
        self._size = self._pool.num_processes

    def info(self) -> dict[str, Any]:
        """For `celery inspect stats`."""
        return {
            "max": self._policy.max_replicas,
            "min": self._policy.min_replicas,
            "current": self._pool.num_processes,
            "wanted": self._wanted.replicas,
            "because": self._wanted.because,
        }

    def update(self, max: int | None = None, min: int | None = None) -> None:  # noqa: A002 - Celery's names
        """For `celery control autoscale`, which is refused: connections are planned for what was given."""
        raise ImproperlyConfigured(f"restart the worker with --autoscale={max},{min} instead")

    def _watch(self) -> None:
        history: list[Wanted] = []
        while True:
            with turn_at_the_database() as engine:
                history = self.look(engine, history)
            time.sleep(self._policy.poll_seconds)

    def look(self, engine: Engine, history: list[Wanted]) -> list[Wanted]:
        """Want anew, by what presses on the pool now; returns the history to give the next time."""
        try:
            with engine.connect() as tx:
                pressure = read_pressure(tx, self._queues, seconds=self._policy.drain_seconds)
        except SQLAlchemyError as error:
            log.info("worker.autoscaler_blind", error=cause(error))
            return history
        now = time.monotonic()
        seen = Seen(
            backlog=ceil(pressure.backlog),
            oldest_seconds=pressure.oldest_seconds,
            arrival_rate=pressure.arrival_rate,
            mean_seconds=pressure.mean_seconds,
            replicas=self._size,
        )
        children, kept = decide(seen, history, self._policy, now=now)
        self._wanted = Wanted(now, children, kept[-1].because)
        return kept


def _refuse_unplanned(settings: Settings, pool: str, most: int) -> None:
    planned = planned_children(settings, pool)
    if most > planned:
        found = f"--autoscale lets the pool {pool} have {most} children, and the plan of connections {planned}."
        change = f"Set MILLRACE_PROCESSES to a plan with {pool}=1x{most}, for as many workers as there are."
        _refuse(found, change)


def _refuse(found: str, change: str) -> NoReturn:
    log.error("start.refused", reason=found, change=change)
    sys.exit(REFUSED)


def retire(pool: Any, number: int) -> int:
    """End at most so many children of Celery's `AsynPool`, and none that has a job; returns how many.

    For the event loop alone: between the look and the signal nothing is given to a child. A job that is on its way
    to no child yet keeps one for itself.
    """
    spare = min(number, len(pool._pool) - len(pool._cache))  # noqa: SLF001
    chosen = list(islice(_idle(pool), max(0, spare)))
    for child in chosen:
        pool._processes -= 1  # noqa: SLF001
        pool._putlock.shrink()  # noqa: SLF001
        pool._busy_workers.add(child.inqW_fd)  # noqa: SLF001 - until it is gone, nothing is written to it
        child.terminate_controlled()
        pool.on_shrink(1)
    return len(chosen)


def _idle(pool: Any) -> Iterator[Any]:
    """The newest first. Billiard itself counts a child as idle until it has confirmed its job."""
    jobs = list(pool._cache.values())  # noqa: SLF001
    given = {id(child) for job in jobs for child in (job._write_to, job._scheduled_for) if child}  # noqa: SLF001
    busy = {pid for job in jobs for pid in job.worker_pids()}
    for child in reversed(pool._pool):  # noqa: SLF001
        if child.pid not in busy and id(child) not in given:
            yield child
