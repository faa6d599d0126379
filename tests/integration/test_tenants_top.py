"""`millrace tenants top`: the tenants behind the queues, the busiest first."""

from sqlalchemy import Engine

from tests.support.commands import Run
from tests.support.customers import Customer
from tests.support.jobs import Note, add, add_queued
from tests.support.metrics import measure


def test_the_busiest_come_first(
    run: Run, engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    for _ in range(3):
        add(engine, stranger.id, Note())
    add_queued(engine, tenant.id, Note())
    measure(engine)
    found = run("tenants", "top", "--json").json
    assert [(one["tenant_id"], one["due"], one["in_flight"]) for one in found] == [
        (str(stranger.id), 3, 0),
        (str(tenant.id), 0, 1),
    ]
    assert found[0]["oldest_seconds"] >= 0
    assert str(stranger.id) in run("tenants", "top", "--limit", "1").out
    assert str(tenant.id) not in run("tenants", "top", "--limit", "1").out
