"""What a round reads doesn't grow with the backlog: by the plans that PostgreSQL makes and what they touch."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, TextClause, text

from app.ids import new_id
from app.ledger.outbox import READY, TAKE, take_due
from app.ledger.parking import ADMIT
from app.ledger.turns import VISIT, Lap, visit
from tests.support.jobs import Note

TENANTS, EACH, LATER = 400, 50, 5000
KEYS, PARKED = 100, 100
"""Of one tenant: keys that somebody holds, and so many jobs that wait for each."""
WORDS = 5000
"""Of keys that were posted to, or have come free, all at once."""
MOST_ROWS = 1000
"""Far fewer than are there."""


BUSY = new_id()
_HELD_KEYS = text("""
    WITH job AS (
        INSERT INTO jobs (id, tenant_id, kind, version, queue, state, payload, max_attempts, run_at,
                          concurrency_key, concurrency_limit, in_order)
        SELECT uuidv7(), :tenant_id, 'test.keyed', 1, 'default',
               CASE n WHEN 0 THEN 'running' ELSE 'scheduled' END, '{}', 5, clock_timestamp(),
               'key ' || key, 1, key % 2 = 0
        FROM generate_series(1, :keys) AS key, generate_series(0, :parked) AS n
        RETURNING *
    ), flying AS (
        INSERT INTO in_flight (job_id, tenant_id, queue, kind, attempt, queued_at, concurrency_key)
        SELECT id, tenant_id, queue, kind, 1, clock_timestamp(), concurrency_key FROM job
        WHERE state = 'running'
    )
    INSERT INTO outbox (job_id, tenant_id, queue, run_at, parked, kind, concurrency_key,
                        concurrency_limit, in_order)
    SELECT id, tenant_id, queue, run_at, true, kind, concurrency_key, 1, in_order FROM job
    WHERE state = 'scheduled'
""")
_READY = text("""
    INSERT INTO outbox (job_id, tenant_id, queue, run_at, ready, kind, concurrency_key, concurrency_limit)
    SELECT uuidv7(), uuidv7(), 'default', clock_timestamp(), true, 'test.keyed', 'its own', 1
    FROM generate_series(1, :jobs)
""")
_WORDS = text("""
    INSERT INTO key_wakes (tenant_id, concurrency_key)
    SELECT :tenant_id, 'key ' || n FROM generate_series(1, :words) AS n
""")


@pytest.fixture
def tx(engine: Engine) -> Iterator[Connection]:
    """A backlog of many tenants, many jobs for later, and many that wait for a key, as a dispatcher's
    transaction sees them.
    """
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
        made.execute(_HELD_KEYS, {"keys": KEYS, "parked": PARKED, "tenant_id": BUSY})
        made.execute(_WORDS, {"words": WORDS, "tenant_id": BUSY})
    with engine.connect() as tx:
        take_due(tx, batch=1)  # which sets how this transaction plans
        yield tx
        tx.rollback()


def test_jobs_that_wait_for_a_key_are_not_looked_at(tx: Connection) -> None:
    """Their tenant has nothing to send, and so no turn; and a key that comes free lets one in."""
    every = visit(tx, {"default": (Lap(), TENANTS + 10)})["default"].tenants
    assert BUSY not in every
    keys = [{"tenant_id": str(BUSY), "concurrency_key": f"key {n}"} for n in (7, 8)]
    tx.execute(text("DELETE FROM in_flight WHERE concurrency_key IN ('key 7', 'key 8')"))
    for node in analyze(tx, ADMIT, {"keys": json.dumps(keys)}):
        assert touched(node) <= 10, node
    admitted = tx.execute(
        text("SELECT count(*) FROM outbox WHERE ready AND concurrency_key IS NOT NULL")
    ).scalar_one()
    assert admitted == 1  # the eighth runs in order, and the first in its line still runs


def test_keys_are_looked_at_by_the_batch_whatever_the_statistics_say(engine: Engine) -> None:
    """They are of a time when nothing was ready, and no key free: a way to look through all that is seemed cheap."""
    with engine.begin() as made:
        made.execute(_HELD_KEYS, {"keys": 100, "parked": 5, "tenant_id": BUSY})
        made.execute(text("ANALYZE outbox, jobs, in_flight, key_lines, key_wakes"))
    with engine.begin() as made:
        take_due(made, batch=1)  # which sets how this transaction plans
        look = READY.text.replace(":batch", "40").replace(":half", "20")
        made.execute(text(f"PREPARE a_look AS {look}"))
        made.execute(text("EXECUTE a_look"))
        made.execute(text("DELETE FROM in_flight"))
        made.execute(_READY, {"jobs": MOST_ROWS})
        keys = [{"tenant_id": str(BUSY), "concurrency_key": f"key {n}"} for n in range(1, 101)]
        for node in analyze(made, ADMIT, {"keys": json.dumps(keys)}):
            assert touched(node) < MOST_ROWS, node
        made.execute(text("EXECUTE a_look"))
        assert made.execute(text("SELECT count(*) FROM key_wakes")).scalar_one() == 60


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
            other.execute(text("ANALYZE outbox, jobs, in_flight, key_lines"))
    last = tx.execute(text("SELECT tenant_id FROM outbox ORDER BY 1 OFFSET 9000 LIMIT 1")).scalar()
    tenants = visit(tx, {"default": (Lap(), 20)})["default"].tenants
    assert len(tenants) == 20
    taking = taking_of(tenants, share=2)
    keys = [{"tenant_id": str(BUSY), "concurrency_key": f"key {n}"} for n in range(1, 21)]
    statements: list[tuple[TextClause, dict[str, object]]] = [
        (READY, {"batch": 40, "half": 20}),
        (VISIT, {"queues": ["default"], "starts": [UUID(int=0)], "steps": [20]}),
        (VISIT, {"queues": ["default"], "starts": [last], "steps": [20]}),
        (ADMIT, {"keys": json.dumps(keys)}),
        (TAKE, taking),
    ]
    for statement, facts in statements:
        for node in analyze(tx, statement, facts):
            if node.get("Relation Name") == "dispatch_rules":
                continue  # a small table, read as a whole
            assert node["Node Type"] not in {"Seq Scan", "Bitmap Heap Scan"}, node
            assert touched(node) <= MOST_ROWS, (statement.text, node)
            if "Sort" in node["Node Type"]:
                assert touched(node) <= 40, node


def test_a_turn_is_two_searches_however_many_jobs_it_is_of(tx: Connection) -> None:
    """One for the tenant and its kind, one for its jobs: what they cost is shared by the jobs of the turn."""
    visiting = {"queues": ["default"], "starts": [UUID(int=0)], "steps": [20]}
    tenants = visit(tx, {"default": (Lap(), 20)})["default"].tenants
    statements = [(VISIT, visiting), (TAKE, taking_of(tenants, share=5))]
    searches = [
        node["Index Searches"]
        for statement, facts in statements
        for node in analyze(tx, statement, facts)
        if node.get("Index Name") == "ix_outbox_ready"
    ]
    assert sum(searches) <= 2 * len(tenants) + 1


def taking_of(tenants: Mapping[UUID, Sequence[str]], *, share: int) -> dict[str, object]:
    """What TAKE is asked for, where each of them has one kind."""
    each = len(tenants)
    return {
        "ranks": [0] * each,
        "queues": ["default"] * each,
        "turns": list(range(each)),
        "tenants": list(tenants),
        "kinds": [kind for (kind,) in tenants.values()],
        "mosts": [share] * each,
        "shares": [share] * each,
        "weights": [1] * each,
        "quotas": "{}",
        "batch": share * each,
    }
