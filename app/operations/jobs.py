"""One job of any tenant: cancel it, have it run again. A batch: cancel it."""

from uuid import UUID

from sqlalchemy import Connection, select

from app.ledger.aftermath import Aftermaths
from app.ledger.cancel import cancel as end
from app.ledger.cancel import missing
from app.ledger.contract import Catalog
from app.ledger.progress import load_batch
from app.ledger.replay import retry_job
from app.ledger.spreading import cancel_batch as end_batch
from app.models.jobs import Job
from app.operations.actor import Actor
from app.operations.audit import Thing, checked_reason, record
from app.roles import Role


def cancel(
    tx: Connection, actor: Actor, aftermaths: Aftermaths, job_id: UUID, *, reason: str
) -> UUID:
    """End it, as `app.ledger.cancel.cancel` does. The reason is in the job's history, where its tenant reads
    it. Returns the entry in the audit log. Raises Forbidden, NotFound, Conflict, Unprocessable.
    """
    actor.require(Role.OPERATOR)
    thing = _thing(tx, job_id)
    end(tx, aftermaths, None, job_id, reason=checked_reason(reason))
    return record(tx, actor, "job.cancel", thing, reason=reason)


def retry(
    tx: Connection,
    actor: Actor,
    catalog: Catalog,
    aftermaths: Aftermaths,
    job_id: UUID,
    *,
    reason: str,
) -> UUID:
    """Run a dead one again, have a waiting one begin now; as above."""
    actor.require(Role.OPERATOR)
    thing = _thing(tx, job_id)
    retry_job(tx, catalog, aftermaths, None, job_id, reason=checked_reason(reason))
    return record(tx, actor, "job.retry", thing, reason=reason)


def cancel_batch(tx: Connection, actor: Actor, batch_id: UUID, *, reason: str) -> UUID:
    """Cancel all of its jobs that have not ended; the dispatcher reaches them. As above."""
    actor.require(Role.OPERATOR)
    batch = load_batch(tx, None, batch_id)
    end_batch(tx, None, batch_id, reason=checked_reason(reason))
    thing = Thing(object="batch", id=str(batch_id), tenant_id=batch.tenant_id)
    return record(tx, actor, "batch.cancel", thing, reason=reason)


def _thing(tx: Connection, job_id: UUID) -> Thing:
    tenant_id = tx.execute(select(Job.tenant_id).where(Job.id == job_id)).scalar_one_or_none()
    if tenant_id is None:
        raise missing(job_id)
    return Thing(object="job", id=str(job_id), tenant_id=tenant_id)
