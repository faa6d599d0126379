"""What a tenant is told about its account: at its beginning, before its trial ends, and after."""

from uuid import UUID

from sqlalchemy import Connection, text

from app.mailing.letters import TrialEnding, TrialExpired, Welcome

_TENANT = text("SELECT name, timezone, plan, trial_ends_at FROM tenants WHERE id = :tenant_id")
_ENDING = text("""
    SELECT name, timezone, trial_ends_at FROM tenants
    WHERE id = :tenant_id AND plan = 'trial' AND trial_ends_at > clock_timestamp()
""")
_EXPIRED = text("""
    SELECT name, timezone, trial_ends_at FROM tenants
    WHERE id = :tenant_id AND plan = 'expired'
""")


def welcome_letter(tx: Connection, tenant_id: UUID) -> Welcome:
    """Says until when the trial runs, for a tenant that is on one."""
    row = tx.execute(_TENANT, {"tenant_id": tenant_id}).one()
    return Welcome(
        tenant_name=row.name,
        trial_ends_at=row.trial_ends_at if row.plan == "trial" else None,
        timezone=row.timezone,
    )


def ending_letter(tx: Connection, tenant_id: UUID) -> TrialEnding | None:
    """None when the tenant has another plan by now, or the trial is over."""
    row = tx.execute(_ENDING, {"tenant_id": tenant_id}).one_or_none()
    if row is None:
        return None
    return TrialEnding(tenant_name=row.name, ends_at=row.trial_ends_at, timezone=row.timezone)


def expired_letter(tx: Connection, tenant_id: UUID) -> TrialExpired | None:
    """None when the tenant has another plan by now."""
    row = tx.execute(_EXPIRED, {"tenant_id": tenant_id}).one_or_none()
    if row is None:
        return None
    return TrialExpired(tenant_name=row.name, ended_at=row.trial_ends_at, timezone=row.timezone)
