"""Remind a tenant that its trial is about to end."""

from app.jobs import TrialEndingMail
from app.trials.letters import ending_letter
from workers.mailing import send_letter
from workers.runtime.context import Context
from workers.runtime.outcome import Cancel, Outcome
from workers.runtime.registry import handles


@handles(TrialEndingMail)
def trial_ending_mail(ctx: Context, job: TrialEndingMail) -> Outcome:  # noqa: ARG001 - no fields
    """Send the mail once; whoever has chosen a plan meanwhile, or whose trial is over, gets none."""
    with ctx.read() as db:
        letter = ending_letter(db, ctx.tenant_id)
    if letter is None:
        return Cancel("The tenant is not on trial any more.")
    return send_letter(ctx, letter)
