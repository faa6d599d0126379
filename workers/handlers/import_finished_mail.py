"""Tell the tenant that an import has ended."""

from app.imports.report import finished_letter
from app.jobs import ImportFinishedMail
from workers.mailing import send_letter
from workers.runtime.context import Context
from workers.runtime.outcome import Outcome
from workers.runtime.registry import handles


@handles(ImportFinishedMail)
def import_finished_mail(ctx: Context, job: ImportFinishedMail) -> Outcome:
    """Send the mail once; sent again after a crash in the middle it has the same Message-ID."""
    with ctx.read() as db:
        letter = finished_letter(db, ctx.tenant_id, job.import_id)
    return send_letter(ctx, letter)
