"""Which objects of the store belong to a file: tenants/{tenant}/files/{file}/...

source                            as it was sent
variants/{name}-{attempt}.{ext}   a variant; its row says which attempt's counts
text/{attempt}.txt                the text; the file's row says which attempt's counts
"""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Connection, text

from app.storage import below_tenant

_REFERRED = text("""
    SELECT object_key FROM files WHERE object_key = ANY(:keys)
    UNION ALL SELECT text_key FROM files WHERE id = ANY(:ids) AND text_key = ANY(:keys)
    UNION ALL SELECT object_key FROM file_variants
              WHERE file_id = ANY(:ids) AND object_key = ANY(:keys)
""")


def prefix(tenant_id: UUID, file_id: UUID) -> str:
    """What the keys of all its objects begin with."""
    return f"{below_tenant(tenant_id)}files/{file_id}/"


def source_key(tenant_id: UUID, file_id: UUID) -> str:
    """Where the file itself lives."""
    return f"{prefix(tenant_id, file_id)}source"


def variant_key(tenant_id: UUID, file_id: UUID, name: str, attempt: str, extension: str) -> str:
    """Where an attempt puts a variant."""
    return f"{prefix(tenant_id, file_id)}variants/{name}-{attempt}.{extension}"


def text_key(tenant_id: UUID, file_id: UUID, attempt: str) -> str:
    """Where an attempt puts the text."""
    return f"{prefix(tenant_id, file_id)}text/{attempt}.txt"


def file_of(key: str) -> UUID | None:
    """The file whose object this is; None for keys of anything else."""
    match key.split("/"):
        case ["tenants", _, "files", file_id, "source"]:
            pass
        case ["tenants", _, "files", file_id, "variants" | "text", _]:
            pass
        case _:
            return None
    try:
        return UUID(file_id)
    except ValueError:
        return None


def useless_keys(tx: Connection, keys: Collection[str]) -> set[str]:
    """Those of the keys that belong to files and that no row names: of a file that is deleted or was never
    recorded, or left by an attempt that came to nothing. None may be in the making.
    """
    own = {key: file_id for key in keys if (file_id := file_of(key)) is not None}
    if not own:
        return set()
    values = {"ids": list(set(own.values())), "keys": list(own)}
    return set(own) - set(tx.execute(_REFERRED, values).scalars())
