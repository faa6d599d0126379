"""The baseline: the usual endpoint, which sends a Celery task and says its id. The broker confirms each message."""

import os
from uuid import UUID

from celery import Celery
from fastapi import FastAPI
from kombu import Exchange, Queue
from pydantic import BaseModel

QUEUE = "stock"
celery = Celery("stock", broker=os.environ.get("MILLRACE_BROKER_URL"))
celery.conf.update(
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
    task_ignore_result=True,
    broker_transport_options={"confirm_publish": True},
)
app = FastAPI()


@celery.task(name="stock.report")
def report(day: str) -> None:
    """Nobody runs it here."""


class Wanted(BaseModel):
    """As small as ours."""

    kind: str
    payload: dict[str, str]


class Sent(BaseModel):
    """The task's id."""

    id: UUID


@app.post("/v1/jobs", status_code=202)
def create(wanted: Wanted) -> Sent:
    return Sent(id=UUID(report.delay(wanted.payload["day"]).id))
