"""Forget the jobs and batches of a tenant that goes for good, whatever their state, with all that belongs to them.

A job whose row is gone can't be claimed and can't commit: whoever has it in hand has lost it.
"""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Connection, text

from app.ledger.belongings import OF_ENDED, OF_OPEN, forget_doomed

TABLES = frozenset({"jobs", *OF_ENDED, *OF_OPEN, "batches", "batch_shards"}) - {"dead_letters"}
"""What goes here, by the job or batch that it belongs to; of the letters there are others, of no job."""

# Rows that somebody holds are left for the next look: nobody waits for two of them in another order.
_JOBS = text(f"""
    WITH doomed AS MATERIALIZED (
        SELECT id FROM jobs WHERE tenant_id = :tenant_id LIMIT :limit FOR UPDATE SKIP LOCKED
    ), {forget_doomed(open_ones=True)}
    SELECT (SELECT count(*) FROM doomed) AS removed,
           ARRAY(SELECT DISTINCT incident_id FROM of_dead_letters) AS incidents
""")  # noqa: S608 - constants
_BATCHES = text("""
    WITH doomed AS MATERIALIZED (
        SELECT id FROM batches WHERE tenant_id = :tenant_id LIMIT :limit FOR UPDATE SKIP LOCKED
    ), shard AS (
        DELETE FROM batch_shards USING doomed WHERE batch_shards.batch_id = doomed.id
    )
    DELETE FROM batches USING doomed WHERE batches.id = doomed.id
""")
_LEFT = text("""
    SELECT EXISTS (SELECT FROM jobs WHERE tenant_id = :tenant_id)
        OR EXISTS (SELECT FROM batches WHERE tenant_id = :tenant_id)
""")
_IN_FLIGHT = text("""
    SELECT f.job_id, coalesce(j.state = 'running', false) AS running
    FROM in_flight f LEFT JOIN jobs j ON j.id = f.job_id
    WHERE f.tenant_id = :tenant_id ORDER BY f.job_id
""")
_OF_LETTERS = text("SELECT DISTINCT incident_id FROM dead_letters WHERE tenant_id = :tenant_id")
# An incident is everybody's; its words are those of its last death.
_REWORD = text("""
    UPDATE incidents SET message = coalesce(
        (SELECT d.error ->> 'message' FROM dead_letters d
         WHERE d.incident_id = incidents.id AND d.tenant_id IS DISTINCT FROM :tenant_id
         ORDER BY d.id DESC LIMIT 1), :nobodys)
    WHERE id = ANY(CAST(:ids AS uuid[]))
""")
NOBODYS = "Of a tenant that was deleted."


def erase_jobs(tx: Connection, tenant_id: UUID, *, limit: int) -> int:
    """Forget at most `limit` jobs that nobody holds, with their history and dead letters; how many they were."""
    row = tx.execute(_JOBS, {"tenant_id": tenant_id, "limit": limit}).one()
    reword_incidents(tx, tenant_id, row.incidents)
    return int(row.removed)


def erase_batches(tx: Connection, tenant_id: UUID, *, limit: int) -> int:
    """The same of batches."""
    return tx.execute(_BATCHES, {"tenant_id": tenant_id, "limit": limit}).rowcount


def anything_left(tx: Connection, tenant_id: UUID) -> bool:
    """Whether it has jobs or batches: after `erase_jobs` and `erase_batches` those that somebody holds."""
    return bool(tx.execute(_LEFT, {"tenant_id": tenant_id}).scalar_one())


def in_flight(tx: Connection, tenant_id: UUID) -> dict[UUID, bool]:
    """The jobs that the broker or a worker has; whether a worker runs it."""
    return {row.job_id: row.running for row in tx.execute(_IN_FLIGHT, {"tenant_id": tenant_id})}


def reword_incidents(
    tx: Connection, tenant_id: UUID, incident_ids: Collection[UUID] | None = None
) -> None:
    """Have no incident (of these, or of all that its letters are of) quote the tenant's errors any more."""
    if incident_ids is None:
        incident_ids = tx.execute(_OF_LETTERS, {"tenant_id": tenant_id}).scalars().all()
    if incident_ids:
        values = {"ids": list(incident_ids), "tenant_id": tenant_id, "nobodys": NOBODYS}
        tx.execute(_REWORD, values)
