"""The database was away, or stood still: leases that nobody could keep meanwhile are not those of the dead."""

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from app.housekeeping.timekeeper import Timekeeper
from tests.support.customers import Customer
from tests.support.jobs import Note, add_queued, claim_now, job_facts
from tests.support.servers import Servers, wait_for


def test_after_an_outage_workers_may_first_say_that_they_are_there(
    engine: Engine, tenant: Customer, servers: Servers, database: str
) -> None:
    """No lease could be kept meanwhile."""
    job_id = add_queued(engine, tenant.id, Note())
    with engine.begin() as tx:
        assert claim_now(tx, job_id, lease_seconds=0) is not None
    patient = Timekeeper(engine, {}, lease_seconds=1000)
    prompt = Timekeeper(engine, {}, lease_seconds=0.1)
    with servers.no_new_connections(database):
        for timekeeper in (patient, prompt):
            with pytest.raises(OperationalError):
                timekeeper.step()
    patient.step()
    assert job_facts(engine, job_id).state == "running"

    def rescued() -> bool:
        prompt.step()
        return job_facts(engine, job_id).state == "scheduled"

    wait_for(rescued, what="the rescue")


def test_so_they_may_when_the_database_stood_still(engine: Engine, tenant: Customer) -> None:
    """It refused nothing, and answered late; a timekeeper that is always slow looks all the same."""
    now = 1000.0
    timekeeper = Timekeeper(engine, {}, lease_seconds=60, clock=lambda: now)
    timekeeper.step()
    job_id = add_queued(engine, tenant.id, Note())
    with engine.begin() as tx:
        assert claim_now(tx, job_id, lease_seconds=0) is not None
    states = []
    for seconds in (100, 1, 28, 2):
        now += seconds
        timekeeper.step()
        states.append(job_facts(engine, job_id).state)
    assert states == ["running", "running", "running", "scheduled"]
