"""The end of a trial, and the reminder before it: one guarded change and one mail, in the same commit."""

from uuid import UUID

from sqlalchemy import Connection, text

from app.jobs import TrialEndingMail, TrialExpiredMail
from app.ledger.enqueue import enqueue
from app.webhooks.emitting import emit

_EXPIRE = text("""
    UPDATE tenants SET plan = 'expired'
    WHERE plan = 'trial' AND trial_ends_at <= clock_timestamp()
    RETURNING id
""")
# Who came within the last day has just been told; a trial that is prolonged has another end to be told of.
_WARN = text("""
    UPDATE tenants SET trial_warned_for = trial_ends_at
    WHERE plan = 'trial' AND trial_ends_at > clock_timestamp()
      AND trial_ends_at <= clock_timestamp() + make_interval(days => :days)
      AND trial_warned_for IS DISTINCT FROM trial_ends_at
      AND created_at < clock_timestamp() - interval '1 day'
    RETURNING id
""")


def expire_trials(tx: Connection, *, parent_id: UUID) -> int:
    """Move tenants whose trial is over to `expired`, each with a mail job of its own; returns how many."""
    over = tx.execute(_EXPIRE).scalars().all()
    for tenant_id in over:
        enqueue(tx, tenant_id, TrialExpiredMail(), parent_id=parent_id)
        emit(tx, tenant_id, "plan.changed", {"plan": "expired"})
    return len(over)


def warn_of_ends(tx: Connection, *, days: int, parent_id: UUID) -> int:
    """Remind tenants whose trial ends within `days`, once for each end; returns how many."""
    soon = tx.execute(_WARN, {"days": days}).scalars().all()
    for tenant_id in soon:
        enqueue(tx, tenant_id, TrialEndingMail(), parent_id=parent_id)
    return len(soon)
