"""The baseline: stock Celery as its documentation has it, acknowledging late, on a quorum queue, publishing with confirms.

One pooled connection per child (or thread), one transaction per task, no result backend, no events.
"""

import os

from celery import Celery
from kombu import Exchange, Queue
from sqlalchemy import create_engine

from bench.throughput_row import INSERT
from bench.throughput_stages import record_stages

QUEUE = "stock"
DATABASE_URL = os.environ["MILLRACE_DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:", 1)

app = Celery("stock", broker=os.environ["MILLRACE_BROKER_URL"])
app.conf.update(
    task_queues=[
        Queue(
            QUEUE,
            Exchange(QUEUE, type="topic"),
            routing_key=QUEUE,
            queue_arguments={"x-queue-type": "quorum"},
        )
    ],
    task_default_queue=QUEUE,
    task_default_exchange=QUEUE,
    task_default_exchange_type="topic",
    task_default_routing_key=QUEUE,
    task_acks_late=True,
    task_ignore_result=True,
    broker_transport_options={"confirm_publish": True},
    worker_prefetch_multiplier=1,
)
engine = create_engine(DATABASE_URL, pool_size=int(os.environ.get("BENCH_SLOTS", "1")))
stages = record_stages()


@app.task(name="stock.insert")
def insert_row(row_id: str, name: str) -> None:
    with stages.handler(), engine.begin() as tx:
        tx.execute(INSERT, {"id": row_id, "name": name})
