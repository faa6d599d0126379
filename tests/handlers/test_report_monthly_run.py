"""The monthly run: one report for each tenant that has something to be told, as one batch."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.ids import SYSTEM_TENANT
from app.jobs import ReportMonthly, ReportMonthlyRun
from app.keys import set_timezone
from app.reports import run
from app.schedules.defaults import install_defaults
from app.storage import Storage
from tests.support.clock import local, set_columns
from tests.support.customers import Customer, make_customer
from tests.support.exports import add_contacts
from tests.support.flows import assert_honest, batch_of, tidy
from tests.support.imports import dispatch
from tests.support.jobs import add_queued, job_facts
from tests.support.runtime import Killed, Worker
from tests.support.schedules import add_schedule, change, fire, fired
from workers.runtime.executor import Disposition


@pytest.fixture
def customers(engine: Engine) -> list[Customer]:
    """Three with a contact each, since before the month."""
    made = [make_customer(engine) for _ in range(3)]
    for each in made:
        add_contacts(engine, each.id, {"email": "a@example.com"})
        set_columns(engine, "tenants", each.id, created_at=datetime(2026, 1, 1, tzinfo=UTC))
    return made


def ordered(engine: Engine) -> dict[UUID, dict[str, Any]]:
    """The reports' jobs, by tenant."""
    with engine.connect() as tx:
        rows = tx.execute(text("SELECT * FROM jobs WHERE kind = 'report.monthly'"))
        return {row.tenant_id: dict(row._mapping) for row in rows}


def the_batch(engine: Engine) -> UUID:
    with engine.connect() as tx:
        found: UUID = tx.execute(text("SELECT id FROM batches")).scalar_one()
        return found


def test_the_schedule_has_every_tenants_report_made_in_one_batch(
    worker: Worker, engine: Engine, storage: Storage, customers: list[Customer]
) -> None:
    """Each is the tenant's own job, with the month of the slot; the batch says how far they are."""
    with engine.begin() as tx:
        install_defaults(tx, SYSTEM_TENANT)
        find = "SELECT id FROM schedules WHERE kind = 'report.monthly_run'"
        schedule = tx.execute(text(find)).scalar_one()
        change(tx, schedule, paused_at=None, next_at=local(date(2026, 11, 1), "06:00:00", "UTC"))
    fire(engine)
    ((slot_run, _),) = [
        job for job in dispatch(engine) if job[0] in fired(engine, schedule).values()
    ]
    assert worker.deliver(slot_run) is Disposition.ACKNOWLEDGE
    reports = ordered(engine)
    assert set(reports) == {each.id for each in customers}
    assert {job["payload"]["month"] for job in reports.values()} == {"2026-10"}
    batch = the_batch(engine)
    assert {job["batch_id"] for job in reports.values()} == {batch}
    facts = batch_of(engine, batch)
    assert (facts.tenant_id, facts.name, facts.total) == (
        SYSTEM_TENANT,
        "monthly reports 2026-10",
        3,
    )
    jobs = dispatch(engine)
    for job_id, _ in jobs[:2]:
        worker.deliver(job_id)
    assert (batch_of(engine, batch).succeeded, batch_of(engine, batch).state) == (2, "running")
    worker.deliver(jobs[2][0])
    assert batch_of(engine, batch).state == "succeeded"
    with engine.connect() as tx:
        made = tx.execute(text("SELECT DISTINCT tenant_id FROM exports")).scalars().all()
    assert set(made) == {each.id for each in customers}
    assert [kind for _, kind in dispatch(engine) if kind.startswith("report.")] == [
        "report.monthly_done"
    ]
    assert_honest(engine)


def test_who_has_nothing_to_be_told_or_decided_for_itself_is_left_out(
    worker: Worker, engine: Engine, customers: list[Customer]
) -> None:
    """And a month that is not over yet by the tenant's clock is waited for."""
    far, own, over = customers
    make_customer(engine)  # has no contacts
    with engine.begin() as tx:
        set_timezone(tx, far.id, "Pacific/Pago_Pago")
    add_schedule(engine, own.id, cron="0 6 1 * *", job=ReportMonthly())
    set_columns(engine, "tenants", over.id, plan="expired")
    worker.deliver(add_queued(engine, SYSTEM_TENANT, ReportMonthlyRun(month="2026-10")))
    ((tenant_id, job),) = ordered(engine).items()
    assert (tenant_id, job["run_at"]) == (far.id, datetime(2026, 11, 1, 11, tzinfo=UTC))


def test_a_run_that_is_killed_goes_on_and_orders_nothing_twice(
    worker: Worker, engine: Engine, customers: list[Customer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither does a second run of the same month."""

    monkeypatch.setattr(run, "STEP", 1)
    steps, order_reports = [], run.order_reports

    def and_die(*args: Any, **named: Any) -> Any:
        steps.append(args)
        if len(steps) == 3:
            raise Killed
        return order_reports(*args, **named)

    job_id = add_queued(engine, SYSTEM_TENANT, ReportMonthlyRun(month="2026-10"))
    with monkeypatch.context() as patch:
        patch.setattr(run, "order_reports", and_die)
        with pytest.raises(Killed):
            worker.deliver(job_id)
    assert len(ordered(engine)) == 2
    assert batch_of(engine, the_batch(engine)).closed is False
    worker.deliver(job_id, redelivered=True)
    assert job_facts(engine, job_id).state == "succeeded"
    assert len(ordered(engine)) == 3
    assert batch_of(engine, the_batch(engine)).total == 3
    worker.deliver(add_queued(engine, SYSTEM_TENANT, ReportMonthlyRun(month="2026-10")))
    with engine.connect() as tx:
        found = "SELECT state, (SELECT count(*) FROM jobs WHERE batch_id = b.id) FROM batches b ORDER BY id"
        assert [tuple(row) for row in tx.execute(text(found))] == [("running", 3), ("succeeded", 0)]


def test_a_cancel_of_the_run_reaches_the_reports(
    worker: Worker, engine: Engine, customers: list[Customer]
) -> None:
    from app.ledger.spreading import cancel_batch

    worker.deliver(add_queued(engine, SYSTEM_TENANT, ReportMonthlyRun(month="2026-10")))
    with engine.begin() as tx:
        cancel_batch(tx, SYSTEM_TENANT, the_batch(engine), reason="the wrong month")
    tidy(engine)
    assert {job["state"] for job in ordered(engine).values()} == {"cancelled"}
    assert batch_of(engine, the_batch(engine)).state == "cancelled"
