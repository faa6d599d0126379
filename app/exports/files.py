"""Which objects of the store belong to an export: tenants/{tenant}/exports/{export}/{job}-{attempt}.{format}

Every attempt writes an object of its own; the export's row says which one counts, and until when.
"""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Connection, text

from app.exports.order import Format, ReportFormat
from app.storage import below_tenant

_OF_USE = text("""
    SELECT object_key FROM exports
    WHERE object_key = ANY(:keys) AND expires_at > clock_timestamp()
""")


def prefix(tenant_id: UUID, export_id: UUID) -> str:
    """What the keys of all its objects begin with."""
    return f"{below_tenant(tenant_id)}exports/{export_id}/"


def object_key(
    tenant_id: UUID, export_id: UUID, job_id: UUID, attempt: int, file_format: Format | ReportFormat
) -> str:
    """Where an attempt puts the file."""
    return f"{prefix(tenant_id, export_id)}{job_id}-{attempt}.{file_format.value}"


def export_of(key: str) -> UUID | None:
    """The export whose object this is; None for keys of anything else."""
    match key.split("/"):
        case ["tenants", _, "exports", export_id, _]:
            try:
                return UUID(export_id)
            except ValueError:
                return None
    return None


def useless_keys(tx: Connection, keys: Collection[str]) -> set[str]:
    """Those of the keys that nobody will fetch again: expired ones, and what attempts left that came to
    nothing. The objects must be old enough that none is in the making.
    """
    own = {key for key in keys if export_of(key) is not None}
    if not own:
        return set()
    return own - set(tx.execute(_OF_USE, {"keys": list(own)}).scalars())
