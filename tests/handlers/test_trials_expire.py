"""Trials end once, each with one mail, in one commit; whoever pays stays."""

from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from app.ids import SYSTEM_TENANT
from app.jobs import TrialsExpire
from app.ledger.enqueue import enqueue
from app.trials import expiry
from tests.support.clock import days_ago, set_columns
from tests.support.customers import make_customer
from tests.support.jobs import add_queued, job_facts
from tests.support.runtime import Worker
from workers.runtime.executor import Disposition


def tenant_on(engine: Engine, plan: str, *, ended_days_ago: float | None) -> UUID:
    customer = make_customer(engine)
    ends = None if ended_days_ago is None else days_ago(engine, ended_days_ago)
    set_columns(engine, "tenants", customer.id, plan=plan, trial_ends_at=ends)
    return customer.id


def plan_of(engine: Engine, tenant_id: UUID) -> str:
    with engine.connect() as tx:
        query = text("SELECT plan FROM tenants WHERE id = :id")
        return str(tx.execute(query, {"id": tenant_id}).scalar_one())


def mails(engine: Engine) -> list[tuple[UUID, str, UUID]]:
    with engine.connect() as tx:
        query = text("""
            SELECT tenant_id, queue, parent_id FROM jobs WHERE kind = 'mail.trial_expired'
            ORDER BY tenant_id
        """)
        return [tuple(row) for row in tx.execute(query)]


def expire(worker: Worker, engine: Engine) -> UUID:
    job_id = add_queued(engine, SYSTEM_TENANT, TrialsExpire())
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    assert job_facts(engine, job_id).state == "succeeded"
    return job_id


def test_trials_that_are_over_expire_and_others_do_not(worker: Worker, engine: Engine) -> None:
    over = sorted(tenant_on(engine, "trial", ended_days_ago=days) for days in (0.0, 30.0))
    others = {
        tenant_on(engine, "trial", ended_days_ago=-0.01): "trial",
        tenant_on(engine, "active", ended_days_ago=2.0): "active",
        tenant_on(engine, "active", ended_days_ago=None): "active",
        tenant_on(engine, "expired", ended_days_ago=2.0): "expired",
    }
    job_id = expire(worker, engine)
    assert [plan_of(engine, tenant) for tenant in over] == ["expired", "expired"]
    assert {tenant: plan_of(engine, tenant) for tenant in others} == others
    assert mails(engine) == [(tenant, "high", job_id) for tenant in over]


def test_running_twice_tells_nobody_twice(worker: Worker, engine: Engine) -> None:
    tenant_on(engine, "trial", ended_days_ago=1.0)
    expire(worker, engine)
    expire(worker, engine)
    assert len(mails(engine)) == 1


def test_plan_and_mail_are_one_commit(
    worker: Worker, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What breaks between the two undoes both, and the next attempt does both."""
    tenant = tenant_on(engine, "trial", ended_days_ago=1.0)

    def broken(tx: Connection, *arguments: object, **options: object) -> object:
        enqueue(tx, *arguments, **options)  # type: ignore[arg-type]
        raise ConnectionError("half-way")

    monkeypatch.setattr(expiry, "enqueue", broken)
    job_id = add_queued(engine, SYSTEM_TENANT, TrialsExpire())
    worker.deliver(job_id)
    assert job_facts(engine, job_id).state == "scheduled"
    assert plan_of(engine, tenant) == "trial"
    assert mails(engine) == []
    monkeypatch.undo()
    expire(worker, engine)
    assert plan_of(engine, tenant) == "expired"
    assert len(mails(engine)) == 1


def reminders(engine: Engine) -> list[UUID]:
    with engine.connect() as tx:
        query = text("SELECT tenant_id FROM jobs WHERE kind = 'mail.trial_ending' ORDER BY id")
        return list(tx.execute(query).scalars())


def test_who_is_near_the_end_is_reminded_once_for_each_end(worker: Worker, engine: Engine) -> None:
    near = tenant_on(engine, "trial", ended_days_ago=-2.9)
    new = tenant_on(engine, "trial", ended_days_ago=-2.9)
    far = tenant_on(engine, "trial", ended_days_ago=-3.1)
    paid = tenant_on(engine, "active", ended_days_ago=-2.9)
    for tenant in (near, far, paid):
        set_columns(engine, "tenants", tenant, created_at=days_ago(engine, 10))
    expire(worker, engine)
    expire(worker, engine)
    assert reminders(engine) == [near]
    set_columns(engine, "tenants", new, created_at=days_ago(engine, 1.1))
    set_columns(engine, "tenants", near, trial_ends_at=days_ago(engine, -1))
    expire(worker, engine)
    assert sorted(reminders(engine)) == sorted([near, new, near])
