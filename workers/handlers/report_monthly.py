"""Make a tenant's monthly report."""

from app.jobs import ReportMonthly
from app.reports.delivering import record_report, store_report
from app.reports.monthly import monthly_facts
from workers.runtime.context import Context
from workers.runtime.outcome import Dead, Done, Outcome
from workers.runtime.registry import handles


@handles(ReportMonthly)
def report_monthly(ctx: Context, job: ReportMonthly) -> Outcome:
    """Read, draw, store, and list it in the commit of the job's end, with the mail."""
    from app.reports.monthly_pdf import monthly_pdf

    with ctx.read() as db:
        facts = monthly_facts(
            db, ctx.tenant_id, ctx.job.id, job.month, retention_days=ctx.settings.retention_days
        )
    if not facts.has_begun:
        return Dead(f"{facts.month.title} has not begun by the tenant's clock.", "not_begun")
    document = monthly_pdf(facts, font=ctx.settings.report_font)
    made = store_report(ctx.storage, facts, document, ctx.tenant_id, ctx.job.id, ctx.job.attempt)
    with ctx.transaction() as tx:
        then = record_report(tx, made, keep_days=ctx.settings.export_keep_days)
    return Done(then)
