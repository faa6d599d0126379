"""Flows in tests: jobs that are done at once, batches as they stand, and whether the counters are true."""

from typing import Any
from uuid import UUID

from sqlalchemy import Engine, text

from app.ledger.aftermath import Aftermaths
from app.ledger.burial import record_death
from app.ledger.doomed import end_next_doomed
from app.ledger.enqueue import enqueue
from app.ledger.job_error import job_error
from app.ledger.outbox import mark_queued, take_due
from app.ledger.prerequisites import Otherwise
from app.ledger.progress import BatchFacts, load_batch
from app.ledger.spreading import spread_next
from app.ledger.state import Event
from app.ledger.store import settle
from tests.support.jobs import Note, claim_now, job_facts

ERROR = job_error("test", "it is broken")
_DISHONEST = text("""
    SELECT b.id, s.shard, s.open, real.open AS really, s.placed, real.placed AS really_placed
    FROM batches b JOIN batch_shards s ON s.batch_id = b.id
    CROSS JOIN LATERAL (
        SELECT count(*) AS total,
               count(*) FILTER (WHERE state NOT IN ('succeeded', 'dead', 'cancelled')) AS open,
               count(*) FILTER (WHERE state IN ('scheduled', 'queued', 'running')) AS placed,
               count(*) FILTER (WHERE state = 'succeeded') AS succeeded,
               count(*) FILTER (WHERE state = 'dead') AS dead,
               count(*) FILTER (WHERE state = 'cancelled') AS cancelled
        FROM jobs j WHERE j.batch_id = b.id AND j.batch_shard = s.shard) real
    WHERE (s.total, s.open, s.succeeded, s.dead, s.cancelled)
          <> (real.total, real.open, real.succeeded, real.dead, real.cancelled)
       OR s.placed <> CASE WHEN s.share IS NULL THEN 0 ELSE real.placed END
    UNION ALL
    SELECT b.id, NULL, b.open_shards, count(*) FILTER (WHERE s.open > 0), 0, 0
    FROM batches b JOIN batch_shards s ON s.batch_id = b.id
    GROUP BY b.id
    HAVING b.open_shards <> count(*) FILTER (WHERE s.open > 0)
        OR (b.finished_at IS NOT NULL) <> (b.open_shards = 0 AND b.closed_at IS NOT NULL)
        OR (b.finished_at IS NOT NULL) <> (b.state <> 'running')
    UNION ALL
    SELECT w.job_id, NULL, w.waits_for, count(e.on_id) FILTER (WHERE e.ended IS NULL), 0, 0
    FROM waiting w LEFT JOIN job_waits e ON e.job_id = w.job_id
    GROUP BY w.job_id
    HAVING w.waits_for <> count(e.on_id) FILTER (WHERE e.ended IS NULL)
        OR (w.waits_for = 0 AND w.doom IS NULL AND w.batch_id IS NULL)
    UNION ALL
    SELECT e.job_id, NULL, 0, 0, 0, 0 FROM job_waits e JOIN jobs o ON o.id = e.on_id
    JOIN jobs j ON j.id = e.job_id
    WHERE j.state = 'waiting' AND e.ended IS DISTINCT FROM
          CASE WHEN o.state IN ('succeeded', 'dead', 'cancelled') THEN o.state END
""")


def after(
    engine: Engine, tenant_id: UUID, *ids: UUID, otherwise: Otherwise = Otherwise.DIE
) -> UUID:
    """A job that waits for these."""
    with engine.begin() as tx:
        return enqueue(tx, tenant_id, Note(), after=ids, otherwise=otherwise).id


def run(engine: Engine, job_id: UUID, event: Event = Event.SUCCEED) -> None:
    """Dispatch and claim this job, and have its attempt end so."""
    with engine.begin() as tx:
        if job_facts(engine, job_id).state == "scheduled":
            mark_queued(tx, [job_id])
        job = claim_now(tx, job_id)
        assert job is not None, f"{job_id} is {job_facts(engine, job_id).state}"
    with engine.begin() as tx:
        settle(tx, job, event, error=None if event is Event.SUCCEED else ERROR)
        if event is Event.DIE:
            record_death(tx, job.id, job.kind, ERROR)


def run_all(engine: Engine, *, limit: int = 1000) -> int:
    """Run what is due, and what that releases, to its good end; how many jobs that were."""
    number = 0
    while number < limit:
        with engine.begin() as tx:
            due = [job.id for job in take_due(tx, batch=100)]
        for job_id in due:
            run(engine, job_id)
        number += len(due)
        if not due:
            break
    return number


def tidy(engine: Engine, aftermaths: Aftermaths | None = None) -> None:
    """What the dispatcher's chore does about flows, until there is nothing left to do."""
    found = True
    while found:
        with engine.begin() as tx:
            found = end_next_doomed(tx, aftermaths or {})
    behind = None
    for _ in range(1000):
        with engine.begin() as tx:
            step = spread_next(tx, aftermaths or {}, behind=behind)
        if step is None and behind is None:
            return
        behind = None if step is None else step.id
    raise AssertionError("a cancel goes on for ever")


def batch_of(engine: Engine, batch_id: UUID) -> BatchFacts:
    with engine.connect() as tx:
        return load_batch(tx, None, batch_id)


def members(engine: Engine, batch_id: UUID) -> list[UUID]:
    """The batch's jobs, by id."""
    with engine.connect() as tx:
        query = text("SELECT id FROM jobs WHERE batch_id = :id ORDER BY id")
        return list(tx.execute(query, {"id": batch_id}).scalars())


def state(engine: Engine, job_id: UUID) -> str:
    return job_facts(engine, job_id).state


def assert_honest(engine: Engine) -> None:
    """Every counter of every batch is what its jobs say, and every job waits for what it says."""
    with engine.connect() as tx:
        wrong: list[Any] = list(tx.execute(_DISHONEST))
    assert wrong == []
