"""Greet a new tenant."""

from app.jobs import WelcomeMail
from app.trials.letters import welcome_letter
from workers.mailing import send_letter
from workers.runtime.context import Context
from workers.runtime.outcome import Outcome
from workers.runtime.registry import handles


@handles(WelcomeMail)
def welcome_mail(ctx: Context, job: WelcomeMail) -> Outcome:  # noqa: ARG001 - no fields
    """Send the mail once."""
    with ctx.read() as db:
        letter = welcome_letter(db, ctx.tenant_id)
    return send_letter(ctx, letter)
