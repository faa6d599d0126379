"""Which objects of the store belong to an import: tenants/{tenant}/imports/{import}/...

source                          the file as it was sent; of a retry, the rejected rows to import again
chunks/{index}.json             records of a file that can't be read from the middle; until the import ends
rejected/{index}-{attempt}.csv  a chunk's rejected rows; the chunk's row says which attempt's count
changes/{index}-{attempt}.csv   what a dry run found
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from app.storage import below_tenant

_KNOWN = text("SELECT id FROM imports WHERE id = ANY(:ids)")
# A chunk's records are of use until the import has ended for good: a failed one can be replayed.
_ENDED = text(
    "SELECT id FROM imports WHERE id = ANY(:ids) AND status IN ('succeeded', 'cancelled')"
)
_REFERRED = text("""
    SELECT rejected_key FROM import_chunks
    WHERE import_id = ANY(:ids) AND rejected_key = ANY(:keys)
    UNION ALL
    SELECT changes_key FROM import_chunks WHERE import_id = ANY(:ids) AND changes_key = ANY(:keys)
""")


@dataclass(frozen=True, slots=True)
class OwnKey:
    """A key of an import's: `part` is what the object is, `source`, `chunks`, `rejected` or `changes`."""

    import_id: UUID
    part: str


def prefix(tenant_id: UUID, import_id: UUID) -> str:
    """What the keys of all its objects begin with."""
    return f"{below_tenant(tenant_id)}imports/{import_id}/"


def object_key(tenant_id: UUID, import_id: UUID) -> str:
    """Where an import's file lives."""
    return f"{prefix(tenant_id, import_id)}source"


def chunk_key(tenant_id: UUID, import_id: UUID, index: int) -> str:
    """Where the records of a chunk live."""
    return f"{prefix(tenant_id, import_id)}chunks/{index}.json"


def part_key(tenant_id: UUID, import_id: UUID, part: str, index: int, attempt: str) -> str:
    """Where an attempt at a chunk puts its `rejected` rows or `changes`."""
    return f"{prefix(tenant_id, import_id)}{part}/{index}-{attempt}.csv"


def own_key(key: str) -> OwnKey | None:
    """What the key is; None for keys of anything else."""
    match key.split("/"):
        case ["tenants", _, "imports", import_id, "source" | "source.csv"]:
            part = "source"
        case ["tenants", _, "imports", import_id, ("chunks" | "rejected" | "changes") as part, _]:
            pass
        case _:
            return None
    try:
        return OwnKey(UUID(import_id), part)
    except ValueError:
        return None


def import_of(key: str) -> UUID | None:
    """The import whose object this is; None for keys of anything else."""
    own = own_key(key)
    return own.import_id if own else None


def known_imports(tx: Connection, import_ids: Collection[UUID]) -> set[UUID]:
    """Those of the ids that are imports."""
    if not import_ids:
        return set()
    return set(tx.execute(_KNOWN, {"ids": list(import_ids)}).scalars())


def useless_keys(tx: Connection, keys: Collection[str]) -> set[str]:
    """Those of the keys that nobody will read again: of no import, a chunk's of one that has ended, or
    left by an attempt that came to nothing. The objects must be old enough that none is in the making.
    """
    own = {key: found for key in keys if (found := own_key(key)) is not None}
    ids = list({found.import_id for found in own.values()})
    if not ids:
        return set()
    known = known_imports(tx, ids)
    ended = set(tx.execute(_ENDED, {"ids": ids}).scalars())
    referred = set(tx.execute(_REFERRED, {"ids": ids, "keys": list(own)}).scalars())
    return {key for key, found in own.items() if _useless(key, found, known, ended, referred)}


def _useless(
    key: str,
    own: OwnKey,
    known: Collection[UUID],
    ended: Collection[UUID],
    referred: Collection[str],
) -> bool:
    if own.import_id not in known:
        return True
    needed: Mapping[str, bool] = {
        "source": True,
        "chunks": own.import_id not in ended,
        "rejected": key in referred,
        "changes": key in referred,
    }
    return not needed.get(own.part, True)
