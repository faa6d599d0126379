"""Have every tenant's monthly report made."""

from typing import Any

from app.jobs import ReportMonthlyRun
from app.reports import run
from workers.runtime.context import Context
from workers.runtime.outcome import Done, Outcome
from workers.runtime.registry import handles


@handles(ReportMonthlyRun)
def report_monthly_run(ctx: Context, job: ReportMonthlyRun) -> Outcome:
    """One batch, filled step by step; an attempt after a crash goes on behind the last tenant that has its job."""
    going: run.Run | None = run.Run.of(ctx.saved) if ctx.saved else _begin(ctx, job)
    assert going is not None
    last = going
    while going is not None:
        saved: dict[str, Any] = {}  # kept as it is when the block ends
        with ctx.checkpoint(saved) as tx:
            going = run.order_reports(tx, last, by=ctx.job)
            last = going or last
            saved.update(last.saved)
    with ctx.transaction() as tx:
        run.end_run(tx, last)
    return Done()


def _begin(ctx: Context, job: ReportMonthlyRun) -> run.Run:
    month = job.month
    if month is None:
        with ctx.read() as db:
            month = run.month_of_run(db, ctx.job.id)
    new = run.new_run(month)
    with ctx.checkpoint(new.saved) as tx:
        run.begin_run(tx, new, by=ctx.job)
    return new
