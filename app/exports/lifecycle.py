"""The export's own row: ordered, begun, under way, ended. Every step joins the caller's transaction."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from app.errors import NotFound, TooManyRequests
from app.exports.files import object_key
from app.exports.object_writer import Stored
from app.exports.order import Format, Order
from app.ids import new_id
from app.jobs import ExportTable, ReportReadyMail
from app.ledger.contract import JobContract
from app.ledger.enqueue import enqueue
from app.ledger.job_error import JobError
from app.webhooks.emitting import emit

RETRY_AFTER_SECONDS = 30

# Two requests at once must not both be the last one that fits.
_TAKE_TURNS = text("SELECT pg_advisory_xact_lock(hashtextextended('exports/' || :tenant_id, 0))")
_OPEN = text("""
    SELECT count(*) FROM exports WHERE tenant_id = :tenant_id AND status IN ('queued', 'running')
""")
_INSERT = text("""
    INSERT INTO exports (id, tenant_id, job_id, target, format, wanted, filename)
    VALUES (:id, :tenant_id, :job_id, :target, :format, CAST(:wanted AS jsonb),
            :target || '-' || to_char(now() AT TIME ZONE
                (SELECT timezone FROM tenants WHERE id = :tenant_id), 'YYYY-MM-DD') || '.' || :format)
""")
_BEGIN = text("""
    UPDATE exports
    SET status = 'running', started_at = coalesce(exports.started_at, clock_timestamp()),
        rows_done = 0, rows_total = NULL, upload_key = NULL, upload_id = NULL
    FROM (SELECT id, upload_key, upload_id FROM exports WHERE id = :id FOR UPDATE) AS old
    WHERE exports.id = old.id AND exports.tenant_id = :tenant_id
      AND exports.status IN ('queued', 'running')
    RETURNING exports.target, exports.format, exports.wanted, old.upload_key, old.upload_id
""")
_UPLOAD = text("""
    UPDATE exports SET upload_key = :key, upload_id = :upload_id
    WHERE id = :id AND status = 'running'
""")
_PROGRESS = text("""
    UPDATE exports SET rows_done = :done, rows_total = :total WHERE id = :id AND status = 'running'
""")
_FINISH = text("""
    UPDATE exports
    SET status = 'succeeded', finished_at = clock_timestamp(), error = NULL,
        expires_at = clock_timestamp() + make_interval(days => :days),
        rows_done = :rows, rows_total = :rows, bytes = :bytes, sha256 = :sha256, object_key = :key,
        upload_key = NULL, upload_id = NULL
    WHERE id = :id AND status = 'running'
    RETURNING filename, format, expires_at
""")
_ADD = text("""
    INSERT INTO exports (id, tenant_id, job_id, target, format, wanted, filename, status, started_at,
                         finished_at, expires_at, rows_done, rows_total, bytes, sha256, object_key)
    VALUES (:id, :tenant_id, :job_id, :target, :format, CAST(:wanted AS jsonb), :filename, 'succeeded',
            clock_timestamp(), clock_timestamp(), clock_timestamp() + make_interval(days => :days),
            :rows, :rows, :bytes, :sha256, :key)
    RETURNING filename, format, expires_at
""")
_END = text("""
    UPDATE exports SET status = :status, finished_at = clock_timestamp(), error = CAST(:error AS jsonb)
    WHERE id = :id AND status IN ('queued', 'running')
""")
_REOPEN = text("""
    UPDATE exports SET status = 'queued', finished_at = NULL, error = NULL
    WHERE id = :id AND status IN ('failed', 'cancelled')
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """An export that an attempt is making into `key`. `left_open` is what an earlier attempt left: the key
    and id of a multipart upload.
    """

    id: UUID
    tenant_id: UUID
    order: Order
    key: str
    left_open: tuple[str, str] | None


def place_order(tx: Connection, tenant_id: UUID, order: Order, *, max_open: int) -> UUID:
    """Record the export and enqueue its job; both are there once `tx` commits. Returns the export's id.

    Raises TooManyRequests (`too_many_exports`) when `max_open` of the tenant's are queued or running.
    """
    tx.execute(_TAKE_TURNS, {"tenant_id": str(tenant_id)})
    if tx.execute(_OPEN, {"tenant_id": tenant_id}).scalar_one() >= max_open:
        raise TooManyRequests(
            f"{max_open} exports are queued or running, which is the limit. "
            "Order this one when one of them has ended, or cancel one.",
            code="too_many_exports",
            retry_after=RETRY_AFTER_SECONDS,
        )
    export_id = new_id()
    job = enqueue(tx, tenant_id, ExportTable(export_id=export_id))
    tx.execute(
        _INSERT,
        {
            "id": export_id,
            "tenant_id": tenant_id,
            "job_id": job.id,
            "target": order.target,
            "format": order.format.value,
            "wanted": json.dumps(order.stored()),
        },
    )
    return export_id


def begin(
    tx: Connection, tenant_id: UUID, export_id: UUID, *, job_id: UUID, attempt: int
) -> Work | None:
    """The attempt makes it from now on; None when it has ended, or is gone."""
    row = tx.execute(_BEGIN, {"id": export_id, "tenant_id": tenant_id}).one_or_none()
    if row is None:
        return None
    order = Order.model_validate({"target": row.target, "format": row.format, **row.wanted})
    return Work(
        id=export_id,
        tenant_id=tenant_id,
        order=order,
        key=object_key(tenant_id, export_id, job_id, attempt, order.format),
        left_open=None if row.upload_id is None else (row.upload_key, row.upload_id),
    )


def note_upload(tx: Connection, work: Work, upload_id: str) -> None:
    """So that the next attempt can abort it."""
    tx.execute(_UPLOAD, {"id": work.id, "key": work.key, "upload_id": upload_id})


def note_progress(tx: Connection, work: Work, *, done: int, total: int) -> None:
    """For whoever looks."""
    tx.execute(_PROGRESS, {"id": work.id, "done": done, "total": total})


def finish(
    tx: Connection, work: Work, stored: Stored, *, rows: int, keep_days: int
) -> Sequence[JobContract]:
    """The file is there. Returns what is to be enqueued; nothing when the export was cancelled meanwhile."""
    ended = tx.execute(
        _FINISH,
        {
            "id": work.id,
            "rows": rows,
            "bytes": stored.bytes,
            "sha256": stored.sha256,
            "key": stored.key,
            "days": keep_days,
        },
    ).one_or_none()
    if ended is None:
        return ()
    return _tell(tx, work.tenant_id, work.id, stored, rows, ended)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A file that is no table's: `wanted` says what it is about, `rows` how many things it lists."""

    id: UUID
    tenant_id: UUID
    job_id: UUID
    target: str
    format: Format
    wanted: dict[str, str]
    filename: str
    rows: int


def add_report(
    tx: Connection, report: Report, stored: Stored, *, keep_days: int
) -> Sequence[JobContract]:
    """Record a file that is there. Returns what is to be enqueued."""
    added = tx.execute(
        _ADD,
        {
            "id": report.id,
            "tenant_id": report.tenant_id,
            "job_id": report.job_id,
            "target": report.target,
            "format": report.format.value,
            "wanted": json.dumps(report.wanted),
            "filename": report.filename,
            "rows": report.rows,
            "bytes": stored.bytes,
            "sha256": stored.sha256,
            "key": stored.key,
            "days": keep_days,
        },
    ).one()
    return _tell(tx, report.tenant_id, report.id, stored, report.rows, added)


def _tell(
    tx: Connection, tenant_id: UUID, export_id: UUID, stored: Stored, rows: int, row: Row[Any]
) -> Sequence[JobContract]:
    """The webhook, in this transaction, and the mail to enqueue."""
    facts = {
        "export_id": export_id,
        "filename": row.filename,
        "format": row.format,
        "rows": rows,
        "bytes": stored.bytes,
        "expires_at": row.expires_at,
    }
    emit(tx, tenant_id, "export.ready", facts)
    return (
        ReportReadyMail(
            title=row.filename,
            download_path=f"/v1/exports/{export_id}/download",
            expires_at=row.expires_at,
        ),
    )


def end(tx: Connection, export_id: UUID, *, status: str, error: JobError) -> None:
    """It failed or was cancelled; one that has ended stays as it is."""
    shown = {"code": error["code"], "message": error["message"]}
    tx.execute(_END, {"id": export_id, "status": status, "error": json.dumps(shown)})


def reopen(tx: Connection, export_id: UUID) -> None:
    """Its job runs again."""
    tx.execute(_REOPEN, {"id": export_id})


def missing(export_id: UUID) -> NotFound:
    """What to raise for an export that isn't there, or is another tenant's."""
    return NotFound(f"There is no export {export_id}.")
