"""Mail a tenant what happened on a day."""

from app.jobs import ReportDaily
from app.reports.daily import daily_letter
from workers.mailing import send_letter
from workers.runtime.context import Context
from workers.runtime.outcome import Done, Outcome
from workers.runtime.registry import handles


@handles(ReportDaily)
def report_daily(ctx: Context, job: ReportDaily) -> Outcome:
    """Send the report, once; a day on which nothing happened has none."""
    with ctx.read() as db:
        letter = daily_letter(db, ctx.tenant_id, ctx.job.id, job.day)
    return Done() if letter is None else send_letter(ctx, letter)
