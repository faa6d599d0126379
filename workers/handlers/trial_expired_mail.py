"""Tell a tenant that its trial has ended."""

from app.jobs import TrialExpiredMail
from app.mail import send
from app.trials.expiry import expired_mail
from workers.runtime.context import Context
from workers.runtime.outcome import Cancel, Done, Outcome
from workers.runtime.registry import handles


@handles(TrialExpiredMail)
def trial_expired_mail(ctx: Context, job: TrialExpiredMail) -> Outcome:  # noqa: ARG001 - no fields
    """Send the mail once; whoever has chosen a plan meanwhile gets none."""
    with ctx.read() as db:
        mail = expired_mail(db, ctx.tenant_id)
    if mail is None:
        return Cancel("The tenant's trial is not expired.")
    ctx.once("mail", lambda _key: send(mail, ctx.settings, message_id=ctx.job.id))
    return Done()
