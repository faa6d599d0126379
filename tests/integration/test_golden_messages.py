"""Messages and payloads of every version that was ever recorded are read and run by today's code."""

import json
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.contracts.golden import FOLDER, Golden, load
from app.contracts.usage import usage
from app.jobs import CATALOG
from app.ledger.contract import JobContract
from tests.architecture.test_structure import ROOT
from tests.support.clock import set_columns
from tests.support.customers import Customer
from tests.support.jobs import Note, add, add_queued, job_facts
from tests.support.runtime import Worker
from workers.runtime.attempt import Delivery
from workers.runtime.context import Context
from workers.runtime.executor import Disposition, execute
from workers.runtime.message import jobs_of
from workers.runtime.outcome import Done, Outcome

RECORDED = [one for kind in load(ROOT / FOLDER).values() for one in kind.values()]

_PUT = text("""
    UPDATE jobs SET id = :new, kind = :kind, version = :version, payload = CAST(:payload AS jsonb)
    WHERE id = :id
""")


def put(engine: Engine, tenant_id: UUID, golden: Golden, job_id: UUID) -> None:
    """A queued job as a release of that time left it."""
    queued = add_queued(engine, tenant_id, Note())
    with engine.begin() as tx:
        facts = {"kind": golden.kind, "version": golden.version}
        payload = json.dumps(golden.payload)
        tx.execute(_PUT, {**facts, "id": queued, "new": job_id, "payload": payload})
        tx.execute(text("UPDATE in_flight SET job_id = :new"), {"new": job_id})
        tx.execute(text("UPDATE job_history SET job_id = :new"), {"new": job_id})


@pytest.mark.parametrize("golden", RECORDED, ids=lambda one: f"{one.kind}-v{one.version}")
def test_an_old_message_runs_its_job(
    worker: Worker, engine: Engine, tenant: Customer, golden: Golden
) -> None:
    got: list[JobContract] = []

    def handler(_ctx: Context, job: JobContract) -> Outcome:
        got.append(job)
        return Done()

    worker.handle(CATALOG[golden.kind], handler)
    arguments: dict[str, Any] = json.loads(golden.message["body"])[1]
    ((job_id, attempt), *_) = jobs_of(arguments)
    put(engine, tenant.id, golden, job_id)
    delivery = Delivery(
        job_id=job_id,
        kind=golden.message["headers"]["task"],
        attempt=attempt,
        worker="test@here",
        redelivered=False,
    )
    assert execute(worker.runtime, delivery) is Disposition.ACKNOWLEDGE
    assert job_facts(engine, job_id).state == "succeeded"
    assert [type(job) for job in got] == [CATALOG[golden.kind]]


def test_what_is_in_use_is_counted_and_what_cannot_be_read_is_told(
    engine: Engine, tenant: Customer
) -> None:
    add(engine, tenant.id, CATALOG["report.daily"]())
    newer = add(engine, tenant.id, CATALOG["report.daily"]())
    set_columns(engine, "jobs", newer, version=7)
    add_queued(engine, tenant.id, Note())
    with engine.connect() as tx:
        uses = {(use.kind, use.version): use for use in usage(tx, CATALOG)}
    assert {(kind, contract.spec.version) for kind, contract in CATALOG.items()} < set(uses)
    assert (uses["report.daily", 1].waiting, uses["report.daily", 1].readable) == (1, True)
    assert (uses["report.daily", 7].waiting, uses["report.daily", 7].readable) == (1, False)
    assert (uses["test.note", 1].waiting, uses["test.note", 1].readable) == (1, False)
    assert uses["trials.expire", 1].waiting == 0
