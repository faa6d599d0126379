"""Dramatiq on a quorum queue, with publisher confirms; it acknowledges when the actor is done, as ever.

`python -m bench.peers_dramatiq` puts jobs in.
"""

from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from sqlalchemy import create_engine

from bench.peers_row import BROKER_URL, DATABASE_URL, SLOTS, row_ids
from bench.throughput_row import INSERT


class QuorumBroker(RabbitmqBroker):
    """Dramatiq has no option for the type of its queues."""

    def _build_queue_arguments(self, queue_name: str) -> dict[str, Any]:
        return {**super()._build_queue_arguments(queue_name), "x-queue-type": "quorum"}


broker = QuorumBroker(url=BROKER_URL, confirm_delivery=True)
dramatiq.set_broker(broker)
engine = create_engine(
    DATABASE_URL.replace("postgresql:", "postgresql+psycopg:", 1), pool_size=SLOTS
)


@dramatiq.actor(queue_name="dramatiq")
def insert_row(row_id: str, name: str) -> None:
    with engine.begin() as tx:
        tx.execute(INSERT, {"id": row_id, "name": name})


if __name__ == "__main__":
    for row_id in row_ids():
        insert_row.send(row_id, "a row")
    broker.close()
