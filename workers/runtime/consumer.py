"""Celery's consumer with less in it: undecodable messages are dead-lettered, and three steps are gone.

Celery acknowledges undecodable messages, so that they vanish (`Consumer.on_decode_error`). And where it
finds quorum queues it declares 28 queues for its native delayed delivery, which nothing here uses. Mingle and gossip
synchronise clocks and revokes between workers, for a second of start-up; the ledger needs neither.
"""

from typing import ClassVar

import structlog
from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.message import Message

log = structlog.get_logger()


class Consumer(CeleryConsumer):
    """Named in the `worker_consumer` setting."""

    class Blueprint(CeleryConsumer.Blueprint):  # type: ignore[misc,valid-type]
        """The stock steps but for delayed delivery, mingle and gossip."""

        default_steps: ClassVar[list[str]] = [
            step
            for step in CeleryConsumer.Blueprint.default_steps
            if step.rpartition(":")[2] not in {"DelayedDelivery", "Mingle", "Gossip"}
        ]

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """Reject without requeue: the broker's dead-letter exchange takes it from here."""
        log.error(
            "message.undecodable",
            error=type(exc).__name__,
            content_type=str(message.content_type),
            content_encoding=str(message.content_encoding),
        )
        message.reject()
