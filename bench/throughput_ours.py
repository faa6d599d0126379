"""The product's Celery application with more kinds of job: each inserts a row."""

from dataclasses import replace
from typing import ClassVar
from uuid import UUID

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from bench import overhead_switches
from bench.throughput_row import INSERT
from bench.throughput_stages import record_stages
from workers.celery_app import app
from workers.runtime.context import Context
from workers.runtime.outcome import Done, Outcome
from workers.runtime.registry import handles
from workers.runtime.task import register_task


class InsertRow(JobContract):
    """A row with a key of its own: inserting it again changes nothing."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="bench.insert",
        queue=Queue.DEFAULT,
        soft_seconds=5,
        hard_seconds=10,
        brief=True,
        together=16,
    )

    row_id: UUID
    name: str


class InsertRowAlone(InsertRow):
    """The same, in a message of its own and with a claim of its own."""

    spec: ClassVar[JobSpec] = JobSpec(kind="bench.insert_alone", queue=Queue.DEFAULT)


class InsertRowBrief(InsertRow):
    """Brief, and in a message of its own."""

    spec: ClassVar[JobSpec] = replace(InsertRow.spec, kind="bench.insert_brief", together=1)


class InsertRowFew(InsertRow):
    """Four to a message."""

    spec: ClassVar[JobSpec] = replace(InsertRow.spec, kind="bench.insert_few", together=4)


class InsertRowMany(InsertRow):
    """Sixty-four to a message."""

    spec: ClassVar[JobSpec] = replace(InsertRow.spec, kind="bench.insert_many", together=64)


KINDS = (InsertRow, InsertRowAlone, InsertRowBrief, InsertRowFew, InsertRowMany)
overhead_switches.apply()
stages = record_stages()


@handles(InsertRow)
def insert_row(ctx: Context, job: InsertRow) -> Outcome:
    with stages.handler(), ctx.transaction() as tx:
        tx.execute(INSERT, {"id": job.row_id, "name": job.name})
    return Done()


for contract in KINDS:
    if contract is not InsertRow:
        handles(contract)(insert_row)
    register_task(app, contract)
