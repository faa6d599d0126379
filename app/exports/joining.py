"""The end of an export in parts: one object of them, or nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from botocore.exceptions import ClientError
from sqlalchemy import Connection, text

from app.exports.object_writer import Piece, Stored
from app.exports.parts import PartDone
from app.jobs import ExportFinish
from app.storage import Part, Storage

_GATHER = text("""
    SELECT e.whole, p.etag, p.bytes, p.rows, p.sha256
    FROM exports e JOIN export_parts p ON p.export_id = e.id
    WHERE e.id = :id AND e.tenant_id = :tenant_id AND e.batch_id = :batch_id
      AND e.status IN ('queued', 'running')
    ORDER BY p.number
""")
_FORGET = text("""
    DELETE FROM export_parts p USING exports e
    WHERE e.id = p.export_id AND e.id = :id AND e.batch_id = :batch_id
""")
_REFUSED = {"InvalidPart", "InvalidPartOrder", "EntityTooSmall"}
"""What the store has isn't what was recorded: a part was put once more by an attempt that had lost its job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """The parts of an export that has not ended; `missing` are those that the store hasn't got."""

    parts: Sequence[PartDone]
    missing: int
    whole: bool

    @property
    def rows(self) -> int:
        """Of all parts."""
        return sum(part.rows for part in self.parts)


def gather(tx: Connection, tenant_id: UUID, job: ExportFinish) -> Gathered | None:
    """None when the export has ended, or is made in another way by now."""
    rows = tx.execute(
        _GATHER, {"id": job.export_id, "tenant_id": tenant_id, "batch_id": job.batch_id}
    ).all()
    if not rows:
        return None
    return Gathered(
        parts=[
            PartDone(etag=row.etag, bytes=row.bytes, rows=row.rows, sha256=row.sha256)
            for row in rows
            if row.etag is not None
        ],
        missing=sum(row.etag is None for row in rows),
        whole=rows[0].whole,
    )


def join(storage: Storage, job: ExportFinish, parts: Sequence[PartDone]) -> Stored | None:
    """Make the upload an object; None when it can't become one. An attempt that died behind this left the
    object, which no other upload can have made: its key is this upload's alone.
    """
    size = sum(part.bytes for part in parts)
    named = [Part(number, part.etag) for number, part in enumerate(parts, 1)]
    try:
        storage.complete_multipart(job.upload_key, job.upload_id, named)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in _REFUSED:
            return None
        if code not in {"404", "NoSuchUpload"}:
            raise
        found = storage.head(job.upload_key)
        if found is None or found.size != size:
            return None
    pieces = [Piece(part.bytes, part.sha256) for part in parts]
    return Stored(job.upload_key, size, None, pieces)


def forget_parts(tx: Connection, job: ExportFinish) -> None:
    """Nobody needs to know any more what is where."""
    tx.execute(_FORGET, {"id": job.export_id, "batch_id": job.batch_id})
