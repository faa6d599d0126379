"""The end of a trial: one guarded change of the plan, and one mail, in the same commit."""

from uuid import UUID

from sqlalchemy import Connection, text

from app.jobs import TrialExpiredMail
from app.ledger.enqueue import enqueue
from app.mail import Mail

_EXPIRE = text("""
    UPDATE tenants SET plan = 'expired'
    WHERE plan = 'trial' AND trial_ends_at <= clock_timestamp()
    RETURNING id
""")
_EXPIRED = text("""
    SELECT email, name, timezone, trial_ends_at FROM tenants
    WHERE id = :tenant_id AND plan = 'expired'
""")


def expire_trials(tx: Connection, *, parent_id: UUID) -> int:
    """Move tenants whose trial is over to `expired`, each with a mail job of its own; returns how many."""
    over = tx.execute(_EXPIRE).scalars().all()
    for tenant_id in over:
        enqueue(tx, tenant_id, TrialExpiredMail(), parent_id=parent_id)
    return len(over)


def expired_mail(tx: Connection, tenant_id: UUID) -> Mail | None:
    """What the tenant is told; None when it has another plan by now."""
    row = tx.execute(_EXPIRED, {"tenant_id": tenant_id}).one_or_none()
    if row is None:
        return None
    ended = f"{row.trial_ends_at:%Y-%m-%d %H:%M} UTC" if row.trial_ends_at else "now"
    return Mail(
        to=row.email,
        subject="Your trial has ended",
        text=(
            f"The trial of {row.name} ended: {ended}.\n\n"
            "Your contacts and imports are kept. Choose a plan to go on.\n"
        ),
    )
