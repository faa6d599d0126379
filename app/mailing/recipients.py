"""To whom a tenant's mail goes, and with which secret its unsubscribe links are signed."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

_TENANT = text("SELECT email, name, timezone, mail_secret FROM tenants WHERE id = :tenant_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """A tenant as mail sees it. `mail_secret` is a secret."""

    email: str
    name: str
    timezone: str
    mail_secret: str

    def __repr__(self) -> str:
        return f"Recipient({self.name!r})"


def recipient_of(tx: Connection, tenant_id: UUID) -> Recipient:
    """The tenant's. Raises sqlalchemy's NoResultFound when it is gone."""
    row = tx.execute(_TENANT, {"tenant_id": tenant_id}).one()
    return Recipient(
        email=row.email, name=row.name, timezone=row.timezone, mail_secret=row.mail_secret.hex
    )
