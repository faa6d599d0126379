"""Tell the tenant that an import has ended."""

from app.imports.report import finished_mail
from app.jobs import ImportFinishedMail
from app.mail import send
from workers.runtime.context import Context
from workers.runtime.outcome import Done, Outcome
from workers.runtime.registry import handles


@handles(ImportFinishedMail)
def import_finished_mail(ctx: Context, job: ImportFinishedMail) -> Outcome:
    """Send the mail once; sent again after a crash in the middle it has the same Message-ID."""
    with ctx.read() as db:
        mail = finished_mail(db, ctx.tenant_id, job.import_id, ctx.settings)
    ctx.once("mail", lambda _key: send(mail, ctx.settings, message_id=ctx.job.id))
    return Done()
