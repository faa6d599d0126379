"""`millrace tenants top` and `GET /v1/tenants/top`: the tenants behind the queues, the busiest first."""

from sqlalchemy import Engine

from app.keys import create_operator_key
from app.roles import Role
from tests.support.commands import Run
from tests.support.customers import Customer
from tests.support.jobs import Note, add, add_queued
from tests.support.metrics import measure
from tests.support.problems import assert_problem
from tests.support.web import Web


def test_the_busiest_come_first(
    run: Run, web: Web, engine: Engine, tenant: Customer, stranger: Customer
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

    with engine.begin() as tx:
        _, key = create_operator_key(tx, name="test", role=Role.VIEWER)
    with web.client(key) as viewer:
        asked = viewer.get("/v1/tenants/top", params={"limit": 1}).json()["items"]
    (busiest,) = asked
    assert busiest.keys() == found[0].keys()
    assert (busiest["tenant_id"], busiest["due"]) == (str(stranger.id), 3)
    with web.client(tenant.key) as customer:
        assert_problem(customer.get("/v1/tenants/top"), 403, "forbidden")
