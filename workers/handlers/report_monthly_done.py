"""Say how a month's reports went."""

import structlog

from app.jobs import ReportMonthlyDone
from app.ledger.progress import load_batch
from workers.runtime.context import Context
from workers.runtime.outcome import Done, Outcome
from workers.runtime.registry import handles

log = structlog.get_logger()


@handles(ReportMonthlyDone)
def report_monthly_done(ctx: Context, job: ReportMonthlyDone) -> Outcome:
    """A line in the log; what failed is among the dead letters."""
    with ctx.read() as db:
        batch = load_batch(db, ctx.tenant_id, job.batch_id)
    log.info(
        "reports.monthly_run_ended",
        month=job.month,
        batch_id=str(job.batch_id),
        state=batch.state,
        reports=batch.total,
        succeeded=batch.succeeded,
        dead=batch.dead,
        cancelled=batch.cancelled,
    )
    return Done()
