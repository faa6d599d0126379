"""Tell a tenant that its trial has ended."""

from app.jobs import TrialExpiredMail
from app.trials.letters import expired_letter
from workers.mailing import send_letter
from workers.runtime.context import Context
from workers.runtime.outcome import Cancel, Outcome
from workers.runtime.registry import handles


@handles(TrialExpiredMail)
def trial_expired_mail(ctx: Context, job: TrialExpiredMail) -> Outcome:  # noqa: ARG001 - no fields
    """Send the mail once; whoever has chosen a plan meanwhile gets none."""
    with ctx.read() as db:
        letter = expired_letter(db, ctx.tenant_id)
    if letter is None:
        return Cancel("The tenant's trial is not expired.")
    return send_letter(ctx, letter)
