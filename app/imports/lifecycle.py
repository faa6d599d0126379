"""The import's own row: accept, start, plan, tick, finish, fail. Every step joins the caller's transaction."""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from app.imports.header import Header
from app.imports.plan import Chunk, Plan
from app.imports.upsert import Tally
from app.jobs import ImportChunk, ImportFinishedMail, ImportPlan
from app.ledger.contract import JobContract
from app.ledger.enqueue import enqueue

_INSERT = text("""
    INSERT INTO imports (id, tenant_id, job_id, filename, object_key, sha256, bytes_total,
                         columns, fields)
    VALUES (:id, :tenant_id, :job_id, :filename, :object_key, :sha256, :bytes_total,
            to_jsonb(CAST(:columns AS text[])), to_jsonb(CAST(:fields AS text[])))
""")
_LOAD = text("""
    SELECT id, tenant_id, status, object_key, columns, fields, bytes_total
    FROM imports WHERE id = :id AND status IN ('queued', 'running')
""")
_START = text("""
    UPDATE imports SET status = 'running', started_at = coalesce(started_at, clock_timestamp())
    WHERE id = :id AND status = 'queued'
""")
_PLANNED = text("""
    UPDATE imports SET chunks_total = :chunks, total = :total
    WHERE id = :id AND status = 'running' AND chunks_total IS NULL
""")
_ADD_CHUNK = text("""
    INSERT INTO import_chunks
        (import_id, index, tenant_id, byte_start, byte_end, first_row, rows, superseded)
    VALUES (:import_id, :index, :tenant_id, :byte_start, :byte_end, :first_row, :rows, :superseded)
""")
_CHUNK = text("""
    SELECT byte_start, byte_end, first_row, rows, superseded
    FROM import_chunks WHERE import_id = :import_id AND index = :index AND done_at IS NULL
""")
_CHUNK_DONE = text("""
    UPDATE import_chunks SET done_at = clock_timestamp()
    WHERE import_id = :import_id AND index = :index AND done_at IS NULL
""")
# The last statement of a chunk's transaction: it locks the row that all chunks share. Rows that are
# committed count, also when the import has failed or been cancelled meanwhile.
_TICK = text("""
    UPDATE imports
    SET chunks_done = chunks_done + 1, rows_done = rows_done + :rows,
        bytes_done = bytes_done + :bytes, inserted = inserted + :inserted,
        updated = updated + :updated, unchanged = unchanged + :unchanged,
        rejected = rejected + :rejected
    WHERE id = :id
    RETURNING status = 'running' AND chunks_done = chunks_total AS complete
""")
_END = text("""
    UPDATE imports
    SET status = :status, finished_at = clock_timestamp(), error = CAST(:error AS jsonb),
        bytes_done = CASE WHEN :status = 'succeeded' THEN bytes_total ELSE bytes_done END
    WHERE id = :id AND status IN ('queued', 'running')
""")
_REOPEN = text("""
    UPDATE imports SET status = 'running', finished_at = NULL, error = NULL
    WHERE id = :id AND status = 'failed'
""")
_UNDONE = text("""
    SELECT index FROM import_chunks WHERE import_id = :id AND done_at IS NULL ORDER BY index
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """An uploaded file, complete in S3. `sha256` is in hex."""

    object_key: str
    filename: str
    size: int
    sha256: str
    header: Header


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenImport:
    """An import that has not ended."""

    id: UUID
    tenant_id: UUID
    status: str
    object_key: str
    columns: list[str]
    fields: list[str]
    bytes_total: int


def accept_import(tx: Connection, tenant_id: UUID, import_id: UUID, file: StoredFile) -> None:
    """Record the import and enqueue its plan; both are there once `tx` commits."""
    job = enqueue(tx, tenant_id, ImportPlan(import_id=import_id))
    tx.execute(
        _INSERT,
        {
            "id": import_id,
            "tenant_id": tenant_id,
            "job_id": job.id,
            "filename": file.filename,
            "object_key": file.object_key,
            "sha256": file.sha256,
            "bytes_total": file.size,
            "columns": file.header.columns,
            "fields": file.header.fields,
        },
    )


def load_open(tx: Connection, import_id: UUID) -> OpenImport | None:
    """The import, or None when it has ended."""
    row = tx.execute(_LOAD, {"id": import_id}).one_or_none()
    return None if row is None else OpenImport(**row._mapping)  # noqa: SLF001


def start(tx: Connection, import_id: UUID) -> None:
    """The plan is being made."""
    tx.execute(_START, {"id": import_id})


def record_plan(tx: Connection, source: OpenImport, plan: Plan) -> list[JobContract]:
    """Keep the plan and return what is to be enqueued: a job a chunk, or the end of an empty import."""
    start(tx, source.id)
    planned = tx.execute(
        _PLANNED, {"id": source.id, "chunks": len(plan.chunks), "total": plan.total}
    )
    if planned.rowcount == 0:
        return []
    if not plan.chunks:
        return end(tx, source.id, status="succeeded")
    tx.execute(_ADD_CHUNK, [_chunk_row(source, index, c) for index, c in enumerate(plan.chunks)])
    return [ImportChunk(import_id=source.id, index=index) for index in range(len(plan.chunks))]


def load_chunk(tx: Connection, import_id: UUID, index: int) -> Chunk | None:
    """The chunk as it was planned; None when it is done already."""
    row = tx.execute(_CHUNK, {"import_id": import_id, "index": index}).one_or_none()
    if row is None:
        return None
    return Chunk(row.byte_start, row.byte_end, row.first_row, row.rows, unpack_rows(row.superseded))


def tick(
    tx: Connection,
    import_id: UUID,
    index: int,
    chunk: Chunk,
    tally: Tally,
    *,
    rows: int,
    rejected: int,
) -> list[JobContract]:
    """Add a finished chunk to the import; the last one ends it. Returns what is to be enqueued."""
    first_time = tx.execute(_CHUNK_DONE, {"import_id": import_id, "index": index}).rowcount == 1
    if not first_time:
        raise RuntimeError(f"chunk {index} of import {import_id} is done already")
    complete = tx.execute(
        _TICK,
        {
            "id": import_id,
            "rows": rows,
            "bytes": chunk.end - chunk.start,
            "inserted": tally.inserted,
            "updated": tally.updated,
            "unchanged": tally.unchanged,
            "rejected": rejected,
        },
    ).scalar_one_or_none()
    return end(tx, import_id, status="succeeded") if complete else []


def end(
    tx: Connection, import_id: UUID, *, status: str, error: dict[str, str] | None = None
) -> list[JobContract]:
    """End the import once; a second call changes nothing. Returns what is to be enqueued."""
    ended = tx.execute(
        _END,
        {"id": import_id, "status": status, "error": json.dumps(error) if error else None},
    )
    return [ImportFinishedMail(import_id=import_id)] if ended.rowcount == 1 else []


def reopen(tx: Connection, import_id: UUID) -> bool:
    """Go on with a failed import; False when it isn't a failed one."""
    return tx.execute(_REOPEN, {"id": import_id}).rowcount == 1


def undone_chunks(tx: Connection, import_id: UUID) -> list[int]:
    """Numbers of the chunks that no job has done."""
    return list(tx.execute(_UNDONE, {"id": import_id}).scalars())


def _chunk_row(source: OpenImport, index: int, chunk: Chunk) -> dict[str, object]:
    return {
        "import_id": source.id,
        "index": index,
        "tenant_id": source.tenant_id,
        "byte_start": chunk.start,
        "byte_end": chunk.end,
        "first_row": chunk.first_row,
        "rows": chunk.rows,
        "superseded": pack_rows(chunk.superseded),
    }


def pack_rows(superseded: dict[int, int]) -> bytes | None:
    """Row pairs as little-endian unsigned 32-bit numbers."""
    if not superseded:
        return None
    flat = [number for pair in superseded.items() for number in pair]
    return struct.pack(f"<{len(flat)}I", *flat)


def unpack_rows(packed: bytes | None) -> dict[int, int]:
    """The opposite of `pack_rows`."""
    if not packed:
        return {}
    flat: Sequence[int] = struct.unpack(f"<{len(packed) // 4}I", packed)
    return dict(zip(flat[::2], flat[1::2], strict=True))
