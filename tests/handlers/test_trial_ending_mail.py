"""The reminder: before the end, to whoever is still on trial, with a way to hear no more of it."""

from sqlalchemy import Engine

from app.jobs import TrialEndingMail
from tests.support.clock import days_ago, set_columns
from tests.support.customers import Customer
from tests.support.jobs import add_queued, job_facts
from tests.support.runtime import Worker
from tests.support.servers import Servers


def remind(worker: Worker, engine: Engine, tenant: Customer) -> str:
    job_id = add_queued(engine, tenant.id, TrialEndingMail())
    worker.deliver(job_id)
    return job_facts(engine, job_id).state


def test_the_end_is_told(
    worker: Worker, engine: Engine, tenant: Customer, servers: Servers
) -> None:
    ends = days_ago(engine, -2)
    set_columns(engine, "tenants", tenant.id, plan="trial", trial_ends_at=ends)
    assert remind(worker, engine, tenant) == "succeeded"
    (mail,) = servers.system.mails(recipient=tenant.email)
    assert mail.subject == f"Your trial ends on {ends:%Y-%m-%d}"
    assert "No more reminders about your trial: http" in mail.text


def test_whoever_has_paid_or_is_over_is_not_reminded(
    worker: Worker, engine: Engine, tenant: Customer, servers: Servers
) -> None:
    set_columns(engine, "tenants", tenant.id, plan="active", trial_ends_at=days_ago(engine, -2))
    assert remind(worker, engine, tenant) == "cancelled"
    set_columns(engine, "tenants", tenant.id, plan="trial", trial_ends_at=days_ago(engine, 0.01))
    assert remind(worker, engine, tenant) == "cancelled"
    assert servers.system.mails(recipient=tenant.email) == []
