"""Tell a tenant that a report or export can be fetched."""

from app.jobs import ReportReadyMail
from app.mailing.letters import ReportReady
from app.mailing.recipients import recipient_of
from workers.mailing import send_letter
from workers.runtime.context import Context
from workers.runtime.outcome import Outcome
from workers.runtime.registry import handles


@handles(ReportReadyMail)
def report_ready_mail(ctx: Context, job: ReportReadyMail) -> Outcome:
    """Send the mail once."""
    with ctx.read() as db:
        zone = recipient_of(db, ctx.tenant_id).timezone
    letter = ReportReady(
        title=job.title,
        download_path=job.download_path,
        expires_at=job.expires_at,
        timezone=zone,
    )
    return send_letter(ctx, letter, to=job.recipient)
