"""The baseline: the usual endpoint, which sends a task of the stock application and says its id. The broker confirms
each message.
"""

from uuid import UUID

from fastapi import FastAPI
from pydantic import BaseModel

from bench.throughput_stock import app as celery

celery.conf.broker_transport_options = {"confirm_publish": True}
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
