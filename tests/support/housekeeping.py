"""The dispatcher's chores, one step at a time, and what makes the broker give a message up."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import amqp
from sqlalchemy import Engine, text

from app.broker.dead_letters import DeadMessage, read
from app.broker.publisher import Publisher
from app.broker.topology import DEAD_LETTER_QUEUE, DELIVERY_LIMIT
from app.dispatcher import dispatch_batch
from app.housekeeping.collector import Collector
from app.jobs import CATALOG
from app.ledger.aftermath import Aftermaths
from app.ledger.contract import Catalog, catalog
from app.settings import Settings
from tests.support.clock import Clock
from tests.support.jobs import KEYED, LazyNote, Note, UrgentNote
from tests.support.queues import Queues
from tests.support.servers import wait_for

TEST_CATALOG: Catalog = {**CATALOG, **catalog((Note, UrgentNote, LazyNote, *KEYED))}


def task(job_id: object, *, kind: str = "test.note", attempt: object = 1) -> amqp.Message:
    """A task message as the product's, or almost."""
    body = json.dumps([[], {"job_id": str(job_id), "version": 1, "attempt": attempt}, {}])
    return amqp.Message(
        body, content_type="application/json", application_headers={"task": kind, "id": "1"}
    )


RUBBISH = amqp.Message(
    b"\xff\x00no task", content_type="application/data", application_headers={"task": "test.note"}
)


def refused(job_id: object) -> DeadMessage:
    """A job's message as the collector reads it, rejected by a worker."""
    message = task(job_id)
    message.delivery_info = {"delivery_tag": 1, "redelivered": False}
    message.properties["application_headers"]["x-death"] = [
        {"queue": "default", "reason": "rejected", "count": 1}
    ]
    return read(message)


class House:
    """A collector, and the broker's side of what it collects."""

    def __init__(self, settings: Settings, engine: Engine, queues: Queues) -> None:
        self._settings = settings
        self._engine = engine
        self.queues = queues
        self.aftermaths: Aftermaths = {}
        self.clock = Clock()
        self.collector = self.make_collector()

    def make_collector(self, known: Catalog = TEST_CATALOG) -> Collector:
        return Collector(self._settings, self._engine, known, self.aftermaths, clock=self.clock)

    def look_twice(self) -> None:
        """With as much time between as a job may take from the queue to its claim."""
        self.collector.step()
        self.clock.forward(self._settings.rescue_after_seconds)
        self.collector.step()

    def dispatch(self) -> int:
        """Publish what is due, as the dispatcher does; how many jobs that were."""
        publisher = Publisher(self._settings)
        try:
            with self._engine.begin() as tx:
                return dispatch_batch(tx, publisher, batch=500)
        finally:
            publisher.close()

    def get(self, queue: str = "default") -> amqp.Message:
        """Have a message, unacknowledged."""
        message = self.queues.channel.basic_get(queue)
        assert message is not None, f"nothing in {queue}"
        return message

    def refuse(self, message: amqp.Message) -> None:
        """Reject it for good; returns when it is in the dead-letter queue."""
        before = self.queues.depth(DEAD_LETTER_QUEUE)
        self.queues.channel.basic_reject(message.delivery_info["delivery_tag"], requeue=False)
        self.await_dead(before + 1)

    def exhaust(self, queue: str = "default") -> None:
        """Give the next message back as often as the broker lets us, and once more."""
        before = self.queues.depth(DEAD_LETTER_QUEUE)
        for _ in range(DELIVERY_LIMIT + 1):
            wait_for(lambda: self.queues.depth(queue) > 0, what="the message")
            tag = self.get(queue).delivery_info["delivery_tag"]
            self.queues.channel.basic_reject(tag, requeue=True)
        self.await_dead(before + 1)

    def discard_as_foreign(self, message: amqp.Message, *, queue: str = "default") -> None:
        """Publish a message that is not the product's, and have a worker refuse it."""
        self.queues.publish("millrace", queue, message)
        wait_for(lambda: self.queues.depth(queue) > 0, what="the message")
        self.refuse(self.get(queue))

    def await_dead(self, number: int) -> None:
        wait_for(
            lambda: self.queues.depth(DEAD_LETTER_QUEUE) == number,
            what=f"{number} messages in the dead-letter queue",
        )

    def close(self) -> None:
        self.collector.close()


def waits_for_lock(engine: Engine) -> bool:
    """Whether somebody waits for somebody in this database."""
    query = text("""
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'
    """)
    with engine.connect() as tx:
        return bool(tx.execute(query).scalar_one())


@contextmanager
def in_thread(work: Thread) -> Iterator[Thread]:
    """Runs beside the block, and is over when the block is left."""
    work.start()
    try:
        yield work
    finally:
        work.join(30)
        assert not work.is_alive()
