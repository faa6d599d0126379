"""Forget what has ended: finished jobs with all that belongs to them, batches, closed dead letters, old
incidents.

A job is walked to by its id, which sorts by creation, so that the rows which workers write all the time
need no index on their end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from app.db import database_time
from app.ledger.belongings import forget_doomed

BATCH = 1000
_FIRST = UUID(int=0)
_CLOCKS_APART = timedelta(days=1)
"""Ids are made by processes, whose clocks may be off; when a job ended, the database has written."""

# The shortest retention that anybody has: jobs younger than that need no look.
_BEFORE = text("""
    SELECT clock_timestamp() - make_interval(days => least(CAST(:days AS int), min(days)))
    FROM retention WHERE what = 'jobs'
""")
_JOBS = text(f"""
    WITH page AS MATERIALIZED (
        SELECT id FROM jobs WHERE id > :after AND id < :before ORDER BY id LIMIT :batch
    ), doomed AS MATERIALIZED (
        SELECT j.id FROM jobs j JOIN page USING (id)
        WHERE j.state IN ('succeeded', 'dead', 'cancelled')
          AND j.finished_at < clock_timestamp() - make_interval(days => coalesce(
              (SELECT r.days FROM retention r WHERE r.tenant_id = j.tenant_id AND r.what = 'jobs'),
              :days))
          AND NOT EXISTS (SELECT FROM dead_letters d WHERE d.job_id = j.id AND d.state = 'open')
        FOR UPDATE OF j SKIP LOCKED
    ), {forget_doomed(open_ones=False)}
    SELECT (SELECT count(*) FROM doomed) AS removed, (SELECT count(*) FROM page) AS seen,
           (SELECT id FROM page ORDER BY id DESC LIMIT 1) AS last
""")  # noqa: S608 - constants
_LETTERS = text("""
    DELETE FROM dead_letters WHERE id IN (
        SELECT id FROM dead_letters d
        WHERE state <> 'open'
          AND closed_at < clock_timestamp() - make_interval(days => coalesce(
              (SELECT r.days FROM retention r
               WHERE r.tenant_id = d.tenant_id AND r.what = 'dead_letters'), :days))
          AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = d.job_id)
        LIMIT :batch FOR UPDATE SKIP LOCKED)
""")
_BATCHES = text("""
    WITH doomed AS MATERIALIZED (
        SELECT id FROM batches b
        WHERE id < :before AND finished_at < clock_timestamp() - make_interval(days => :days)
          AND NOT EXISTS (SELECT FROM jobs j WHERE j.batch_id = b.id)
        LIMIT :batch FOR UPDATE SKIP LOCKED
    ), shard AS (
        DELETE FROM batch_shards USING doomed WHERE batch_shards.batch_id = doomed.id
    )
    DELETE FROM batches USING doomed WHERE batches.id = doomed.id
""")
_INCIDENTS = text("""
    DELETE FROM incidents WHERE id IN (
        SELECT id FROM incidents i
        WHERE last_seen < clock_timestamp() - make_interval(days => :days)
          AND (state <> 'ignored' OR ignored_until < clock_timestamp())
          AND NOT EXISTS (SELECT FROM dead_letters d WHERE d.incident_id = i.id)
        LIMIT :batch FOR UPDATE SKIP LOCKED)
""")


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many were removed, and where to go on; None when there is nothing more. `prefixes` are of
    objects in the store that belonged to them, to be deleted after the commit.
    """

    removed: int
    after: str | None
    prefixes: Sequence[str] = ()


def prune_jobs(tx: Connection, after: str | None, *, days: int, batch: int = BATCH) -> Pruned:
    """Look at the next `batch` jobs after the id `after` and remove those that ended more than `days`
    ago (or than their tenant's own days, in the table `retention`), with their history, effects, waits and
    closed dead letters. A job whose dead letter is open stays.
    """
    oldest_kept: datetime = tx.execute(_BEFORE, {"days": days}).scalar_one()
    before = _first_id(oldest_kept + _CLOCKS_APART)
    row = tx.execute(
        _JOBS,
        {"after": after or _FIRST, "before": before, "days": days, "batch": batch},
    ).one()
    return Pruned(row.removed, str(row.last) if row.seen == batch else None)


def prune_batches(tx: Connection, after: str | None, *, days: int, batch: int = BATCH) -> Pruned:
    """Remove batches that ended more than `days` ago and have no job left."""
    now = database_time(tx)
    facts = {"before": _first_id(now - timedelta(days=days) + _CLOCKS_APART), "days": days}
    return _until_less(tx.execute(_BATCHES, {**facts, "batch": batch}).rowcount, batch, after)


def prune_dead_letters(
    tx: Connection, after: str | None, *, days: int, batch: int = BATCH
) -> Pruned:
    """Remove closed dead letters that belong to no job (any more)."""
    return _until_less(tx.execute(_LETTERS, {"days": days, "batch": batch}).rowcount, batch, after)


def prune_incidents(tx: Connection, after: str | None, *, days: int, batch: int = BATCH) -> Pruned:
    """Remove incidents that have no dead letter left and were not seen lately."""
    gone = tx.execute(_INCIDENTS, {"days": days, "batch": batch}).rowcount
    return _until_less(gone, batch, after)


def _until_less(removed: int, batch: int, after: str | None) -> Pruned:
    return Pruned(removed, (after or "again") if removed == batch else None)


def _first_id(moment: datetime) -> UUID:
    """The least UUIDv7 of that millisecond."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)
