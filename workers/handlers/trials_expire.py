"""End the trials that are over, and remind of those that soon will be."""

from app.jobs import TrialsExpire
from app.trials.expiry import expire_trials, warn_of_ends
from workers.runtime.context import Context
from workers.runtime.outcome import Done, Outcome
from workers.runtime.registry import handles


@handles(TrialsExpire)
def trials_expire(ctx: Context, job: TrialsExpire) -> Outcome:  # noqa: ARG001 - it has no fields
    """Change the plans and remind of ends to come; safe to run again: each is done, and told, once."""
    with ctx.transaction() as tx:
        expire_trials(tx, parent_id=ctx.job.id)
        warn_of_ends(tx, days=ctx.settings.trial_warning_days, parent_id=ctx.job.id)
    return Done()
