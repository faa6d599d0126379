"""The mail at a trial's end: once, to the tenant, unless it has paid meanwhile."""

import pytest
from sqlalchemy import Engine

from app.jobs import TrialExpiredMail
from tests.support.clock import days_ago, set_columns
from tests.support.customers import Customer
from tests.support.jobs import add_queued, job_facts
from tests.support.runtime import Worker
from tests.support.servers import Servers
from workers.runtime.executor import Disposition


@pytest.fixture
def expired(engine: Engine, tenant: Customer) -> Customer:
    ended = days_ago(engine, 1)
    set_columns(engine, "tenants", tenant.id, plan="expired", trial_ends_at=ended)
    return tenant


def test_the_tenant_hears_of_it_once(
    worker: Worker, engine: Engine, expired: Customer, servers: Servers
) -> None:
    job_id = add_queued(engine, expired.id, TrialExpiredMail())
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    set_columns(engine, "jobs", job_id, state="running", finished_at=None)
    assert worker.deliver(job_id, redelivered=True) is Disposition.ACKNOWLEDGE
    (mail,) = servers.system.mails(recipient=expired.email)
    assert mail.subject == "Your trial has ended"
    assert f"{days_ago(engine, 1):%Y-%m-%d}" in mail.text


def test_whoever_has_paid_meanwhile_hears_nothing(
    worker: Worker, engine: Engine, expired: Customer, servers: Servers
) -> None:
    job_id = add_queued(engine, expired.id, TrialExpiredMail())
    set_columns(engine, "tenants", expired.id, plan="active")
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    assert job_facts(engine, job_id).state == "cancelled"
    assert servers.system.mails(recipient=expired.email) == []
