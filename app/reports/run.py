"""The monthly run: a batch of the product's own, with a report for each tenant that has something to be told."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from app.ids import SYSTEM_TENANT, new_id
from app.jobs import ReportMonthly, ReportMonthlyDone
from app.ledger.batches import Batch, add_to_batch, close_batch, open_batch
from app.ledger.enqueue import NewJob
from app.ledger.store import Claimed
from app.reports.month import Month

STEP = 100
"""So many tenants are looked at in one commit."""

_MOMENT = text("""
    SELECT coalesce(slot.slot_at, j.created_at) AS moment
    FROM jobs j LEFT JOIN schedule_slots slot ON slot.job_id = j.id WHERE j.id = :job_id
""")
# Who has a schedule of its own for it, also a paused one, has decided for itself.
_TENANTS = text("""
    SELECT t.id, t.timezone,
           t.plan <> 'expired' AND t.created_at < :end
           AND NOT EXISTS (SELECT FROM schedules s WHERE s.tenant_id = t.id AND s.kind = :kind)
           AND (EXISTS (SELECT FROM contacts c WHERE c.tenant_id = t.id)
                OR EXISTS (SELECT FROM imports i WHERE i.tenant_id = t.id AND NOT i.dry_run
                           AND i.finished_at >= :begin AND i.finished_at < :end)) AS wanted
    FROM tenants t
    WHERE t.id <> :system AND (CAST(:after AS uuid) IS NULL OR t.id > :after)
    ORDER BY t.id LIMIT :step
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Where it is: tenants up to `after` have their job."""

    month: str
    batch_id: UUID
    after: UUID | None = None

    @classmethod
    def of(cls, saved: dict[str, Any]) -> "Run":
        """What `saved` gave."""
        after = saved["after"]
        return cls(
            month=saved["month"],
            batch_id=UUID(saved["batch_id"]),
            after=None if after is None else UUID(after),
        )

    @property
    def saved(self) -> dict[str, Any]:
        """For a checkpoint."""
        after = None if self.after is None else str(self.after)
        return {"month": self.month, "batch_id": str(self.batch_id), "after": after}


def month_of_run(db: Connection, job_id: UUID) -> str:
    """The month before the job's slot."""
    moment: datetime = db.execute(_MOMENT, {"job_id": job_id}).scalar_one()
    return Month.before(moment, ZoneInfo("UTC")).name


def new_run(month: str) -> Run:
    """Not there yet: `begin_run` it."""
    return Run(month=month, batch_id=new_id())


def begin_run(tx: Connection, run: Run, *, by: Claimed) -> None:
    """Open the batch."""
    batch = Batch(
        id=run.batch_id,
        name=f"monthly reports {run.month}",
        on_completion=ReportMonthlyDone(month=run.month, batch_id=run.batch_id),
    )
    open_batch(tx, by.tenant_id, batch, parent_id=by.id, traceparent=by.traceparent)


def order_reports(tx: Connection, run: Run, *, by: Claimed) -> Run | None:
    """Add the next tenants' reports; None when there are no more tenants. A report is made when the month is over
    by the tenant's own clock, and once, however often the month is run.
    """
    utc = Month.named(run.month, ZoneInfo("UTC"))
    rows = tx.execute(
        _TENANTS,
        {
            "begin": utc.begin,
            "end": utc.end,
            "kind": ReportMonthly.spec.kind,
            "system": SYSTEM_TENANT,
            "after": run.after,
            "step": STEP,
        },
    ).all()
    for row in rows:
        if row.wanted:
            report = NewJob(
                job=ReportMonthly(month=run.month),
                run_at=Month.named(run.month, ZoneInfo(row.timezone)).end,
                unique_key=f"run {run.month}",
            )
            add_to_batch(tx, run.batch_id, [report], parent_id=by.id, tenant_id=row.id)
    if not rows:
        return None
    return Run(month=run.month, batch_id=run.batch_id, after=rows[-1].id)


def end_run(tx: Connection, run: Run) -> None:
    """All are ordered: the batch ends with the last of them."""
    close_batch(tx, run.batch_id)
