"""Named locks across all workers. A lock belongs to one attempt of one job and lasts as long as that
attempt may still commit: it ends with the attempt, however that ends, and needs no release.

A holder that is silent beyond its lease loses the lock, and in the same commit its job: so two attempts
that both can commit never hold the same lock.
"""

from uuid import UUID

from sqlalchemy import Connection, Row, text

from app.errors import LockBusy, LostLease
from app.ledger.rescue import evict
from app.ledger.store import Claimed, is_owned

_MAKE = text("""
    INSERT INTO locks (tenant_id, name) VALUES (:tenant_id, :name) ON CONFLICT DO NOTHING
""")
# Locked by itself first: what a join finds while it waits for a lock is the row as it was.
_GUARD = text("""
    SELECT token FROM locks WHERE tenant_id = :tenant_id AND name = :name FOR UPDATE
""")
_HOLDER = text("""
    SELECT l.job_id, l.attempt, l.token,
           j.state = 'running' AND j.attempt = l.attempt AS held,
           j.lease_until < clock_timestamp() AS silent
    FROM locks l LEFT JOIN jobs j ON j.id = l.job_id
    WHERE l.tenant_id = :tenant_id AND l.name = :name
""")
# A worker of the release before this one adds one to the token of its row.
_TAKE = text("""
    UPDATE locks SET job_id = :job_id, attempt = :attempt, acquired_at = clock_timestamp(),
                     token = greatest(token + 1, nextval('lock_tokens'))
    WHERE tenant_id = :tenant_id AND name = :name
    RETURNING token
""")


def acquire(tx: Connection, job: Claimed, name: str, *, tenant_id: UUID) -> int:
    """Take the lock for this attempt, in a transaction of its own; the same again while it is held.

    Returns the fencing token: it rises with every holder, so that a system elsewhere that is handed
    it can refuse an older one. Raises LockBusy while another attempt holds it, and LostLease when
    the job is no longer this attempt's.
    """
    where = {"tenant_id": tenant_id, "name": name}
    while tx.execute(_GUARD, where).first() is None:  # new, or forgotten just now
        tx.execute(_MAKE, where)
    holder = tx.execute(_HOLDER, where).one()
    if not is_owned(tx, job):
        raise LostLease(f"job {job.id} is no longer attempt {job.attempt}'s")
    if (holder.job_id, holder.attempt) == (job.id, job.attempt):
        return int(holder.token)
    if holder.held and not (holder.silent and _evict(tx, holder)):
        raise LockBusy(f"{name!r} is held by job {holder.job_id}")
    taken: int = tx.execute(_TAKE, {**where, "job_id": job.id, "attempt": job.attempt}).scalar_one()
    return taken


def _evict(tx: Connection, holder: Row[tuple[object, ...]]) -> bool:
    """Take the silent holder's job from it; False when it has come back, or is about to commit."""
    why = "The worker let its lease run out while it held a lock that another job needed."
    return evict(tx, holder.job_id, holder.attempt, message=why)
