"""What a round reads doesn't grow with the backlog: by the plans that PostgreSQL makes and what they touch."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, TextClause, text

from app.ledger.outbox import NEXT_DUE, READY, TAKE, take_due
from app.ledger.turns import VISIT, Lap, visit
from tests.support.jobs import Note

TENANTS, EACH, LATER = 400, 50, 5000
MOST_ROWS = 1000
"""Far fewer than are there."""


@pytest.fixture
def tx(engine: Engine) -> Iterator[Connection]:
    """A backlog of many tenants, and many jobs for later, as a dispatcher's transaction sees them."""
    with engine.begin() as made:
        made.execute(
            text("""
                WITH tenant AS (SELECT uuidv7() AS id FROM generate_series(1, :tenants)),
                job AS (
                    INSERT INTO jobs (id, tenant_id, kind, version, queue, state, payload,
                                      max_attempts, run_at)
                    SELECT uuidv7(), tenant.id, :kind, 1, 'default', 'scheduled', '{}', 5,
                           clock_timestamp()
                               + make_interval(days => CASE WHEN n > :each THEN 1 ELSE 0 END)
                    FROM tenant, generate_series(1, :each + :later / :tenants) AS n
                    RETURNING id, tenant_id, queue, run_at, kind
                )
                INSERT INTO outbox (job_id, tenant_id, queue, run_at, ready, kind)
                SELECT id, tenant_id, queue, run_at, run_at <= clock_timestamp(), kind FROM job
            """),
            {"tenants": TENANTS, "each": EACH, "later": LATER, "kind": Note.spec.kind},
        )
    with engine.connect() as tx:
        take_due(tx, batch=1)  # which sets how this transaction plans
        yield tx
        tx.rollback()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The plan's nodes."""
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def analyze(
    tx: Connection, statement: TextClause, facts: dict[str, object]
) -> list[dict[str, Any]]:
    """Run it, and say how."""
    explained = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.text}")
    (answer,) = tx.execute(explained, facts).scalar_one()
    return list(nodes(answer["Plan"]))


def touched(node: dict[str, Any]) -> float:
    """Rows that the node looked at."""
    passed = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    return float(passed * node["Actual Loops"])


@pytest.mark.parametrize("analyzed", [False, True], ids=["no statistics", "analyzed"])
def test_no_statement_goes_through_the_backlog(
    tx: Connection, engine: Engine, analyzed: bool
) -> None:
    if analyzed:
        with engine.begin() as other:
            other.execute(text("ANALYZE outbox, jobs"))
    last = tx.execute(text("SELECT tenant_id FROM outbox ORDER BY 1 OFFSET 9000 LIMIT 1")).scalar()
    tenants = visit(tx, {"default": (Lap(), 20)})["default"].tenants
    assert len(tenants) == 20
    turns = [
        {"queue": "default", "rank": 0, "number": n, "tenant_id": str(id_), "share": 2, "weight": 1}
        for n, id_ in enumerate(tenants)
    ]
    taking = {"turns": json.dumps(turns), "kinds": "{}", "held": [], "batch": 40}
    statements: list[tuple[TextClause, dict[str, object]]] = [
        (READY, {"batch": 40}),
        (VISIT, {"queues": json.dumps([{"name": "default", "behind": None, "steps": 20}])}),
        (VISIT, {"queues": json.dumps([{"name": "default", "behind": str(last), "steps": 20}])}),
        (TAKE, taking),
        (NEXT_DUE, {}),
    ]
    for statement, facts in statements:
        for node in analyze(tx, statement, facts):
            if node.get("Relation Name") == "dispatch_rules":
                continue  # a small table, read as a whole
            assert node["Node Type"] not in {"Seq Scan", "Bitmap Heap Scan"}, node
            assert touched(node) <= MOST_ROWS, (statement.text, node)
            if "Sort" in node["Node Type"]:
                assert touched(node) <= 40, node
