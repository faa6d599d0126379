"""What one tenant may have: how large a file, how many rows, how many imports at once."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from app.errors import TooLarge, TooManyRequests
from app.plurals import counted
from app.settings import Settings

RETRY_AFTER_SECONDS = 30
ALL_OR_NOTHING_MAX_ROWS = 1_000_000
"""One transaction keeps the locks of all its rows until its end."""

_LIMITS = text("""
    SELECT import_max_bytes, import_max_rows, import_max_open FROM tenants WHERE id = :tenant_id
""")
_SET = text("""
    UPDATE tenants SET import_max_bytes = :max_bytes, import_max_rows = :max_rows,
                       import_max_open = :max_open
    WHERE id = :tenant_id
""")
# Two requests at once must not both be the last one that fits.
_TAKE_TURNS = text("SELECT pg_advisory_xact_lock(hashtextextended('imports/' || :tenant_id, 0))")
_OPEN = text("""
    SELECT count(*) FROM imports WHERE tenant_id = :tenant_id AND status IN ('queued', 'running')
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """In force for a tenant: its own, or else the settings'."""

    max_bytes: int
    max_rows: int
    max_open: int

    def check_size(self, size: int) -> None:
        """Raise TooLarge for a file of so many bytes, or of that many so far."""
        if size > self.max_bytes:
            raise TooLarge(
                f"The file is over the limit of {self.max_bytes} bytes. "
                "Split it and send the parts."
            )


def limits_of(tx: Connection, tenant_id: UUID, settings: Settings) -> Limits:
    """The tenant's limits. No tenant's own size limit goes beyond the settings'."""
    row = tx.execute(_LIMITS, {"tenant_id": tenant_id}).one()
    own = row.import_max_bytes
    largest = settings.upload_max_bytes
    return Limits(
        max_bytes=largest if own is None else min(own, largest),
        max_rows=settings.import_max_rows if row.import_max_rows is None else row.import_max_rows,
        max_open=settings.import_max_open if row.import_max_open is None else row.import_max_open,
    )


def check_open(tx: Connection, tenant_id: UUID, settings: Settings) -> None:
    """Raise TooManyRequests (`too_many_imports`) when the tenant has as many open imports as it may.

    Others that check in transactions of their own wait until `tx` ends, so that what is accepted in
    it counts for them.
    """
    most = limits_of(tx, tenant_id, settings).max_open
    tx.execute(_TAKE_TURNS, {"tenant_id": str(tenant_id)})
    if tx.execute(_OPEN, {"tenant_id": tenant_id}).scalar_one() >= most:
        raise TooManyRequests(
            f"{counted(most, 'import is', 'imports are')} queued or running, which is the limit. "
            "Send the file when one of them has ended.",
            code="too_many_imports",
            retry_after=RETRY_AFTER_SECONDS,
        )


def set_limits(
    tx: Connection,
    tenant_id: UUID,
    *,
    max_bytes: int | None,
    max_rows: int | None,
    max_open: int | None,
) -> None:
    """The tenant's own limits from now on; None is the settings' default."""
    tx.execute(
        _SET,
        {
            "tenant_id": tenant_id,
            "max_bytes": max_bytes,
            "max_rows": max_rows,
            "max_open": max_open,
        },
    )
