"""An export in parts: runs of keys that are jobs of one batch, each a part of one multipart upload.

The plan cuts and opens the upload; a part's commit says what it has put there; what follows the batch's end
puts the parts together, or clears them away. Each part is read at a moment of its own.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from uuid import UUID

from sqlalchemy import Connection, text

from app.exports.lifecycle import Work
from app.exports.object_writer import MAX_PARTS
from app.exports.order import Format, Order
from app.exports.rows import Between, Selection, in_key_order
from app.ids import new_id
from app.jobs import ExportFinish, ExportPart
from app.ledger.batches import Batch

WHOLE_BYTES = 256 * 1024 * 1024
"""Up to so much is made by one job, in seconds: at one moment, and for less CPU than in parts."""
PART_BYTES = 16 * 1024 * 1024
"""What the plan aims at. A part is made in memory."""
LEAST_BYTES = 5 * 1024 * 1024
"""No part but the last may have less; the object store's own limit."""
MOST_BYTES = 4 * PART_BYTES

_DROP = text("DELETE FROM export_parts WHERE export_id = :id")
_ADD = text("""
    INSERT INTO export_parts (export_id, number, tenant_id, first, before)
    SELECT :id, number, :tenant_id, first, before
    FROM jsonb_to_recordset(CAST(:parts AS jsonb)) AS p(number int, first text, before text)
""")
_PLANNED = text("""
    UPDATE exports SET batch_id = :batch_id, attributes = CAST(:attributes AS jsonb), rows_total = :rows
    WHERE id = :id AND status = 'running' AND upload_id = :upload_id
""")
_LOAD = text("""
    SELECT e.target, e.format, e.wanted, e.attributes, e.upload_key, e.upload_id, p.first, p.before
    FROM exports e JOIN export_parts p ON p.export_id = e.id
    WHERE e.id = :id AND e.tenant_id = :tenant_id AND e.batch_id = :batch_id AND p.number = :number
      AND e.status IN ('queued', 'running') AND NOT e.whole
""")
_COUNT = text("""
    UPDATE exports SET rows_done = rows_done + :rows
    WHERE id = :id AND batch_id = :batch_id AND status IN ('queued', 'running')
""")
_KEEP = text("""
    UPDATE export_parts SET etag = :etag, bytes = :bytes, rows = :rows, sha256 = :sha256
    WHERE export_id = :id AND number = :number
""")
_UNFIT = text("""
    UPDATE exports SET whole = true
    WHERE id = :id AND batch_id = :batch_id AND status IN ('queued', 'running')
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartOf:
    """A part that is to be made, of an export that has not ended."""

    order: Order
    attributes: Sequence[str]
    between: Between
    key: str
    upload_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartDone:
    """A part that the store has: `rows` doesn't count the header, `sha256` is in hex."""

    etag: str
    bytes: int
    rows: int
    sha256: str


def cut(db: Connection, work: Work, chosen: Selection) -> list[Between]:
    """The runs of keys, in order, that the rows are cut into: of about PART_BYTES each, by a sample of them.
    Fewer than two where one job is to make the file: it isn't large, or of a kind that has no parts.
    """
    sample = chosen.sample
    size = chosen.rows * sample.row_bytes
    if work.whole or work.order.format is not Format.CSV or size <= WHOLE_BYTES:
        return []
    number = min(round(size / PART_BYTES), MAX_PARTS)
    keys = in_key_order(db, work.order.table, sample.keys)
    ends = dict.fromkeys(keys[len(keys) * n // number] for n in range(1, number))
    return [Between(first, before) for first, before in pairwise([None, *ends, None])]


def hand_out(
    tx: Connection,
    work: Work,
    chosen: Selection,
    runs: Sequence[Between],
    *,
    upload_id: str,
    window: int,
) -> Batch | None:
    """Record the parts; returns the batch to enqueue, or None when the export has ended meanwhile."""
    batch_id = new_id()
    facts = {"id": work.id, "batch_id": batch_id, "rows": chosen.rows, "upload_id": upload_id}
    planned = tx.execute(_PLANNED, {**facts, "attributes": json.dumps(list(chosen.attributes))})
    if planned.rowcount == 0:
        return None
    numbers = range(1, len(runs) + 1)
    rows = [
        {"number": number, "first": run.first, "before": run.before}
        for number, run in zip(numbers, runs, strict=True)
    ]
    tx.execute(_DROP, {"id": work.id})
    tx.execute(_ADD, {"id": work.id, "tenant_id": work.tenant_id, "parts": json.dumps(rows)})
    return Batch(
        id=batch_id,
        name=f"export {work.id}",
        window=window,
        jobs=[ExportPart(export_id=work.id, batch_id=batch_id, number=n) for n in numbers],
        on_completion=ExportFinish(
            export_id=work.id, batch_id=batch_id, upload_key=work.key, upload_id=upload_id
        ),
    )


def load_part(tx: Connection, tenant_id: UUID, job: ExportPart) -> PartOf | None:
    """The part, or None when it isn't wanted: the export has ended, or is made in another way by now."""
    row = tx.execute(
        _LOAD,
        {
            "id": job.export_id,
            "tenant_id": tenant_id,
            "batch_id": job.batch_id,
            "number": job.number,
        },
    ).one_or_none()
    if row is None:
        return None
    order = Order.model_validate({"target": row.target, "format": row.format, **row.wanted})
    return PartOf(
        order=order,
        attributes=row.attributes,
        between=Between(row.first, row.before),
        key=row.upload_key,
        upload_id=row.upload_id,
    )


def record_part(tx: Connection, job: ExportPart, done: PartDone) -> bool:
    """The store has it; False when the export has ended meanwhile."""
    facts = {"id": job.export_id, "batch_id": job.batch_id, "rows": done.rows}
    if tx.execute(_COUNT, facts).rowcount == 0:
        return False
    kept = {"etag": done.etag, "bytes": done.bytes, "rows": done.rows, "sha256": done.sha256}
    tx.execute(_KEEP, {"id": job.export_id, "number": job.number, **kept})
    return True


def give_up_parts(tx: Connection, job: ExportPart) -> None:
    """It can't be made of these parts: when they have all ended, one job makes it."""
    tx.execute(_UNFIT, {"id": job.export_id, "batch_id": job.batch_id})
