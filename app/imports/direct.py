"""Direct uploads: a file that comes into the store by presigned parts, and the row that knows of it.

The row is the record of what was announced; which parts have arrived, the store knows. Whoever ends an upload
changes the row first, by a guarded statement, and acts on the store after: of two who do it at once one wins.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection, text

from app.storage import Part, StoredPart

MOST_PARTS = 1000
SMALLEST_PART_BYTES = 5 * 1024 * 1024
"""What S3 takes, for all parts but the last."""
_MIB = 1024 * 1024

Status = Literal["open", "completed", "refused"]

_OPEN = text("""
    INSERT INTO uploads (id, tenant_id, filename, object_key, multipart_id, size, part_bytes, sha256,
                         mapping, options)
    VALUES (:id, :tenant_id, :filename, :object_key, :multipart_id, :size, :part_bytes, :sha256,
            CAST(:mapping AS jsonb), CAST(:options AS jsonb))
""")
_FIND = text("""
    SELECT id, tenant_id, status, filename, object_key, multipart_id, size, part_bytes, sha256, mapping,
           options, error, created_at, clock_timestamp() AS now,
           created_at + make_interval(secs => :seconds) AS expires_at,
           created_at + make_interval(secs => :seconds) < clock_timestamp() AS expired
    FROM uploads WHERE id = :id AND tenant_id = :tenant_id
""")
_COMPLETE = text("""
    UPDATE uploads SET status = 'completed', ended_at = clock_timestamp()
    WHERE id = :id AND status = 'open'
""")
_REFUSE = text("""
    UPDATE uploads SET status = 'refused', ended_at = clock_timestamp(), error = CAST(:error AS jsonb)
    WHERE id = :id AND status = 'open'
""")
_GIVE_UP = text("DELETE FROM uploads WHERE id = :id AND status <> 'completed'")
_FORGET = text("""
    DELETE FROM uploads WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM uploads
        WHERE status = 'open' AND created_at < clock_timestamp() - make_interval(secs => :seconds)
        ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED))
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """What the caller said about the file, and where it will lie; `id` becomes the import's."""

    id: UUID
    tenant_id: UUID
    filename: str
    object_key: str
    multipart_id: str
    size: int
    part_bytes: int
    sha256: str | None
    mapping: Mapping[str, str]
    options: Mapping[str, Any]

    @property
    def parts(self) -> int:
        """How many there are to be."""
        return -(-self.size // self.part_bytes)

    def size_of(self, number: int) -> int:
        """Bytes of part `number`, from 1."""
        return min(self.part_bytes, self.size - (number - 1) * self.part_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectUpload(Announced):
    """As recorded; `expired` when its time is over."""

    status: Status
    error: dict[str, Any] | None
    created_at: datetime
    now: datetime
    expires_at: datetime
    expired: bool


@dataclass(frozen=True, slots=True)
class Received:
    """The parts in the store, against what was announced: whole ones, and numbers of the others."""

    parts: tuple[StoredPart, ...]
    missing: tuple[int, ...]
    wrong: tuple[int, ...]
    """Arrived, but not in the size that they must have, or not as the caller says."""


def part_bytes_for(size: int, wanted: int) -> int:
    """The size of the parts of a file of `size` bytes: `wanted`, or larger where they were too many."""
    needed = -(-size // MOST_PARTS)
    return max(wanted, SMALLEST_PART_BYTES, -(-needed // _MIB) * _MIB)


def compare_parts(
    upload: Announced, stored: Sequence[StoredPart], told: Sequence[Part] = ()
) -> Received:
    """What has arrived. `told` is what the caller believes to have sent, if it says so."""
    etags = {part.number: part.etag.strip('"') for part in told}
    by_number = {part.number: part for part in stored}
    wanted = range(1, upload.parts + 1)
    whole = tuple(
        part
        for number in wanted
        if (part := by_number.get(number))
        and part.size == upload.size_of(number)
        and etags.get(number, part.etag.strip('"')) == part.etag.strip('"')
    )
    good = {part.number for part in whole}
    return Received(
        parts=whole,
        missing=tuple(number for number in wanted if number not in by_number),
        wrong=tuple(number for number in sorted(by_number) if number not in good),
    )


def open_upload(tx: Connection, upload: Announced) -> None:
    """Record it."""
    tx.execute(
        _OPEN,
        {
            "id": upload.id,
            "tenant_id": upload.tenant_id,
            "filename": upload.filename,
            "object_key": upload.object_key,
            "multipart_id": upload.multipart_id,
            "size": upload.size,
            "part_bytes": upload.part_bytes,
            "sha256": upload.sha256,
            "mapping": json.dumps(dict(upload.mapping)),
            "options": json.dumps(dict(upload.options)),
        },
    )


def find_upload(
    tx: Connection, tenant_id: UUID, upload_id: UUID, *, seconds: float
) -> DirectUpload | None:
    """The tenant's upload, which may take so many seconds from its beginning; None without it."""
    values = {"id": upload_id, "tenant_id": tenant_id, "seconds": seconds}
    row = tx.execute(_FIND, values).one_or_none()
    return None if row is None else DirectUpload(**row._mapping)  # noqa: SLF001


def complete(tx: Connection, upload_id: UUID) -> bool:
    """To be called in the transaction that records the import; False when it isn't open (any more)."""
    return tx.execute(_COMPLETE, {"id": upload_id}).rowcount == 1


def refuse(tx: Connection, upload_id: UUID, error: Mapping[str, Any]) -> bool:
    """Its file is none that can be imported; False when it isn't open (any more)."""
    return tx.execute(_REFUSE, {"id": upload_id, "error": json.dumps(dict(error))}).rowcount == 1


def give_up(tx: Connection, upload_id: UUID) -> bool:
    """Forget it; False when it is completed, or gone."""
    return tx.execute(_GIVE_UP, {"id": upload_id}).rowcount == 1


def forget_abandoned(tx: Connection, *, seconds: float, limit: int) -> int:
    """Forget those that were begun so long ago and never ended; how many they were, `limit` at most."""
    return tx.execute(_FORGET, {"seconds": seconds, "limit": limit}).rowcount
