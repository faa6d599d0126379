"""A worker's part in the shards of its pool: see app.broker.affinity.

It stands in line at all of them. Those that it is to serve, by the names of all workers of the pool, it never leaves;
from those that it serves without being meant to it goes to the end of the line. So each shard finds its worker again
after whatever happened, and has one in the meantime.

A shard takes a child: so many fewer messages of the pool's own queue are with the worker, and none of them waits here
while another worker is idle.
"""

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache, partial
from typing import Any

import structlog
from celery import bootsteps
from kombu import Consumer, Queue
from kombu.common import ignore_errors
from kombu.message import Message
from sqlalchemy import Connection

from app.broker.affinity import Affinity, mark_of, share_out
from app.ledger.affinity import affinity_of
from app.ledger.processes import workers_on
from app.logs import cause
from app.settings import get_settings
from workers.runtime.registry import registrations

log = structlog.get_logger()

LOOK_SECONDS = 1.0
"""How often the event loop looks for another plan: an attribute, and no server."""


@lru_cache(maxsize=1)
def affinity() -> Affinity:
    """Of the kinds that this worker has handlers for."""
    known = {kind: one.contract for kind, one in registrations().items()}
    return affinity_of(get_settings(), known)


class Plan:
    """What the thread that asks the database leaves for the event loop; there is one."""

    mine: frozenset[str] | None = None
    """The shards to serve; None: nobody has looked yet."""
    looks: int = 0

    @classmethod
    def look(cls, tx: Connection, worker: str, pools: Collection[str]) -> None:
        """By who serves the pools now."""
        mine = set[str]()
        for pool in pools:
            shards = affinity().shards_of(pool)
            if shards:
                workers = {worker, *workers_on(tx, pool)}
                numbers = share_out(len(shards), sorted(workers))[worker]
                mine |= {shards[number].name for number in numbers}
        cls.mine = frozenset(mine)
        cls.looks += 1


class ShardConsumers(bootsteps.StartStopStep):
    """Added to the consumer; begins with each new connection. All of it is done by the event loop."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        self._channel: Any = None
        self._consumers: dict[str, Consumer] = {}
        self._timers: Sequence[Any] = ()
        self._mine: frozenset[str] = frozenset()
        self._strange: set[str] = set()
        self._looks = 0
        super().__init__(consumer, **options)

    def start(self, consumer: Any) -> None:
        """Begin with the loop, and not before it turns."""
        if any(affinity().shards_of(pool) for pool in consumer.app.amqp.queues.consume_from):
            self._timers = (
                consumer.timer.call_after(0.0, self._subscribe, (consumer,)),
                consumer.timer.call_repeatedly(LOOK_SECONDS, self._look, (consumer,)),
            )

    def stop(self, consumer: Any) -> None:
        """Take nothing new: the next in line has the shards."""
        for timer in self._timers:
            timer.cancel()
        for each in self._consumers.values():
            ignore_errors(consumer, each.cancel)
        self._timers, self._consumers = (), {}

    def shutdown(self, consumer: Any) -> None:
        """Nothing is left to be acknowledged."""
        self.stop(consumer)
        if self._channel is not None:
            ignore_errors(consumer, self._channel.close)
            self._channel = None

    def _subscribe(self, consumer: Any) -> None:
        self._strange.clear()
        handle = consumer.create_task_handler()
        try:
            self._open(consumer, handle)
        except (*consumer.connection_errors, *consumer.channel_errors) as error:
            # A lost line is the loop's to see, and then all begins anew; a queue that is another is the doctor's.
            log.warning("worker.without_shards", error=cause(error))
        self._look(consumer)

    def _open(self, consumer: Any, handle: Callable[[Message], Any]) -> None:
        self._channel = channel = consumer.connection.channel()
        channel.basic_qos(0, 1, False)  # of each shard one, until it is acknowledged
        for pool in consumer.app.amqp.queues.consume_from:
            for shard in affinity().shards_of(pool):
                made = Consumer(
                    channel,
                    [Queue(shard.name, queue_arguments=dict(shard.arguments))],
                    on_message=partial(self._take, shard.name, handle),
                    on_decode_error=consumer.on_decode_error,
                    accept=consumer.app.conf.accept_content,
                )
                made.consume()
                self._consumers[shard.name] = made

    def _take(self, shard: str, handle: Callable[[Message], Any], message: Message) -> None:
        if mark_of(message.headers) is not None:
            message.reject()  # to the dead letters, where it was going
            return
        if Plan.mine is not None and shard not in Plan.mine:
            self._strange.add(shard)
        handle(message)

    def _look(self, consumer: Any) -> None:
        mine = Plan.mine
        if mine is None or not self._consumers:
            return
        leaving = self._mine - mine
        if Plan.looks != self._looks:
            self._looks = Plan.looks
            leaving |= self._strange - mine
            self._strange.clear()
        for shard in leaving & self._consumers.keys():
            ignore_errors(consumer, self._consumers[shard].cancel)
            ignore_errors(consumer, self._consumers[shard].consume)
        if mine != self._mine:
            self._mine = mine
            log.info("worker.shards", mine=sorted(mine))
            consumer.have_for_shards(len(mine))
