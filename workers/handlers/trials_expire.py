"""End the trials that are over."""

from app.jobs import TrialsExpire
from app.trials.expiry import expire_trials
from workers.runtime.context import Context
from workers.runtime.outcome import Done, Outcome
from workers.runtime.registry import handles


@handles(TrialsExpire)
def trials_expire(ctx: Context, job: TrialsExpire) -> Outcome:  # noqa: ARG001 - it has no fields
    """Change the plans; safe to run again: who is expired already is no trial any more."""
    with ctx.transaction() as tx:
        expire_trials(tx, parent_id=ctx.job.id)
    return Done()
