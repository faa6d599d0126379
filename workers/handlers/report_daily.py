"""Mail a tenant what happened on a day."""

from app.jobs import ReportDaily
from app.mail import send
from app.reports.daily import daily_mail
from workers.runtime.context import Context
from workers.runtime.outcome import Done, Outcome
from workers.runtime.registry import handles


@handles(ReportDaily)
def report_daily(ctx: Context, job: ReportDaily) -> Outcome:
    """Send the report, once; a day on which nothing happened has none."""
    with ctx.read() as db:
        mail = daily_mail(db, ctx.tenant_id, ctx.job.id, job.day, ctx.settings)
    if mail is not None:
        ctx.once("mail", lambda _key: send(mail, ctx.settings, message_id=ctx.job.id))
    return Done()
