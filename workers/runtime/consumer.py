"""Celery's consumer, changed where it would lose messages or time.

- Celery acknowledges undecodable messages, so that they vanish (`Consumer.on_decode_error`): ours go to
  the dead-letter exchange.
- Where it finds quorum queues it declares 28 queues for its native delayed delivery, which nothing here
  uses. Mingle and gossip synchronise clocks and revokes between workers, for a second of start-up; the
  ledger needs neither.
- It keeps messages with an ETA in memory until then: ours refuses them, to the dead letters.
- What its children run when the line to the broker is lost is left to them (`workers.runtime.broker_away`).
- Told to stop, it forgets the jobs that its children were just given (`Consumer.on_close`).
- Where children take several messages at a time, what they have no room for yet is held by `workers.runtime.takes`.
- It waits up to half a minute between attempts to reach a broker that was away; ours waits a second.
"""

from collections.abc import Callable
from typing import Any, ClassVar, cast

import structlog
from celery.bootsteps import CLOSE  # type: ignore[attr-defined]  # the stubs lack it
from celery.exceptions import InvalidTaskError
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.state import maybe_shutdown
from kombu import Connection
from kombu.common import ignore_errors
from kombu.message import Message

from app.logs import cause
from workers.runtime.broker_away import keep_at_work
from workers.runtime.given_back import jobs_at_work
from workers.runtime.loop import read_at_once, write_at_once
from workers.runtime.takes import Takes
from workers.runtime.vitals import Vitals

log = structlog.get_logger()

RECONNECT_SECONDS = 1.0


def _refusing(
    strategy: Callable[..., Any], delivered: Callable[[Message], None]
) -> Callable[..., Any]:
    def handle(message: Message, *more: Any) -> Any:
        delivered(message)
        arguments = (message, *more)
        if (message.headers or {}).get("eta"):
            # It would lie in this process's memory, unacknowledged, for as long as that.
            raise InvalidTaskError("an ETA or countdown: see docs/plain-celery.md")
        try:
            return strategy(*arguments)
        except (TypeError, ValueError, AttributeError, LookupError) as error:
            raise InvalidTaskError(f"{type(error).__name__}: {error}") from error

    return handle


def _still_here() -> None:
    """Between attempts to connect the loop doesn't turn; a worker that waits for the broker is alive."""
    Vitals.heartbeat.beat()
    maybe_shutdown()


class Consumer(CeleryConsumer):
    """Named in the `worker_consumer` setting."""

    controller: Any
    pool: Any
    strategies: dict[str, Callable[..., Any]]
    initial_prefetch_count: int
    prefetch_multiplier: int
    task_consumer: Any
    _for_shards: int = 0
    _takes: Takes | None = None

    class Blueprint(CeleryConsumer.Blueprint):  # type: ignore[misc,valid-type]
        """The stock steps but for delayed delivery, mingle and gossip.

        Mingle comes back as something that another step requires; it is switched off below.
        """

        default_steps: ClassVar[list[str]] = [
            step
            for step in CeleryConsumer.Blueprint.default_steps
            if step.rpartition(":")[2] not in {"DelayedDelivery", "Mingle", "Gossip"}
        ]

    def __init__(self, on_task_request: Callable[..., Any], **options: Any) -> None:
        switched_off = {**options.pop("worker_options"), "without_mingle": True}
        worker = options["controller"]
        if worker.autoscale:  # a message for each child that it begins with, and not for the most
            options["initial_prefetch_count"] = worker.min_concurrency * worker.prefetch_multiplier
        if worker.prefetch_multiplier > 1:
            start = worker._process_task  # noqa: SLF001
            self._takes = Takes(self, start, most=worker.prefetch_multiplier)
            on_task_request = self._takes.add
        super().__init__(on_task_request, worker_options=switched_off, **options)

    @property
    def kept(self) -> int:
        """Messages that the worker has and whose jobs are elsewhere."""
        return 0 if self._takes is None else self._takes.kept

    @property
    def max_prefetch_count(self) -> int:
        """As stock, but for children that a shard has. Celery itself asks for it after a line was lost."""
        children: int = max(1, self.pool.num_processes - self._for_shards)
        return children * self.prefetch_multiplier

    def have_for_shards(self, children: int) -> None:
        """So many of the pool's children are for messages of shards, beside the queue's own."""
        self._for_shards = children
        self.follow_pool()

    def follow_pool(self) -> None:
        """Have the broker give out a message for each child that no shard has, at least one, and no more; so many for each
        where they take several at a time.

        A quorum queue's prefetch is each consumer's own, and stays as it was when that began: so it begins anew.
        What it was given before is still ours.
        """
        wanted = self.max_prefetch_count
        if wanted == self.initial_prefetch_count:
            return
        self.initial_prefetch_count = wanted
        if self._takes is not None:
            self._takes.let_go()
        tasks, here = self.task_consumer, cast("Any", self)
        if tasks is not None:
            ignore_errors(here, tasks.cancel)
            ignore_errors(here, tasks.qos, prefetch_count=wanted)
            ignore_errors(here, tasks.consume)

    def ensure_connected(self, conn: Connection) -> Connection:
        """Connect, for as long as it takes; a worker that is told to stop meanwhile stops."""
        connected = conn.ensure_connection(
            self._on_refused,
            interval_start=0.2,  # type: ignore[arg-type]  # the stubs know whole seconds only
            interval_step=0.2,  # type: ignore[arg-type]
            interval_max=RECONNECT_SECONDS,  # type: ignore[arg-type]
            callback=_still_here,
        )
        self.first_connection_attempt = False
        read_at_once(connected.transport, self.prefetch_multiplier, encrypted=bool(connected.ssl))
        return connected

    def _on_refused(self, error: Exception, interval: float) -> None:
        Vitals.broker = type(error).__name__
        log.warning("broker.away", error=cause(error), retry_seconds=interval)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """As stock, which may take long where nothing is acknowledged; whoever asks is told at once."""
        Vitals.broker = type(exc).__name__
        super().on_connection_error_after_connected(exc)

    def on_ready(self) -> None:
        """The loop is about to turn, on a new connection."""
        super().on_ready()
        write_at_once(self.pool._pool, cast("Any", self).hub)  # noqa: SLF001
        if self._takes is not None:
            self._takes.watch()

    def on_close(self) -> None:
        """As stock, but a worker that stops keeps account of the jobs that its children were just given, and one that
        lost its line has what they run left to them.

        Celery drops from its books what no child has confirmed yet. A child that has begun such a job
        nonetheless would then wait, for half a minute, for its result to be read, and the job's message
        would not be acknowledged.
        """
        if self.controller.blueprint.state == CLOSE:
            for job in self.pool._pool._cache.values():  # noqa: SLF001
                if job._write_to is not None:  # noqa: SLF001
                    job._accepted = True  # noqa: SLF001
            if self._takes is not None:
                self._takes.give_all_back()
        else:
            keep_at_work(str(self.hostname), jobs_at_work())
            if self._takes is not None:
                self._takes.forget()
        super().on_close()

    def update_strategies(self) -> None:
        """As stock, but a body that is no (args, kwargs, options) is refused like other invalid tasks.

        Celery takes it apart where nothing catches what goes wrong, and the worker would end.
        """
        super().update_strategies()
        delivered = self._takes.delivered if self._takes is not None else lambda _: None
        for name, strategy in self.strategies.items():
            self.strategies[name] = _refusing(strategy, delivered)

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """Reject without requeue: the broker's dead-letter exchange takes it from here."""
        log.error(
            "message.undecodable",
            error=type(exc).__name__,
            content_type=str(message.content_type),
            content_encoding=str(message.content_encoding),
        )
        message.reject()
