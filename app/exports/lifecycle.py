"""The export's own row: ordered, begun, under way, ended. Every step joins the caller's transaction."""

import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from app.errors import Conflict, NotFound, TooManyRequests
from app.exports.files import object_key
from app.exports.object_writer import Piece, Stored
from app.exports.order import Order, ReportFormat
from app.ids import new_id
from app.jobs import ExportTable, ReportReadyMail
from app.ledger.aftermath import Aftermaths
from app.ledger.cancel import be_patient, cancel
from app.ledger.contract import JobContract
from app.ledger.enqueue import enqueue
from app.ledger.job_error import JobError, job_error
from app.ledger.spreading import cancel_batch
from app.plurals import counted
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
        rows_done = 0, rows_total = NULL, upload_key = NULL, upload_id = NULL, batch_id = NULL
    FROM (SELECT id, upload_key, upload_id FROM exports WHERE id = :id FOR UPDATE) AS old
    WHERE exports.id = old.id AND exports.tenant_id = :tenant_id
      AND exports.status IN ('queued', 'running')
    RETURNING exports.target, exports.format, exports.wanted, exports.whole, old.upload_key,
              old.upload_id
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
        rows_done = :rows, rows_total = :rows, bytes = :bytes, sha256 = :sha256,
        parts = CAST(:parts AS jsonb), object_key = :key, upload_key = NULL, upload_id = NULL
    WHERE id = :id AND status IN ('queued', 'running')
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
    RETURNING upload_key, upload_id
""")
_REOPEN = text("""
    UPDATE exports SET status = 'queued', finished_at = NULL, error = NULL
    WHERE id = :id AND status IN ('failed', 'cancelled')
      AND batch_id IS NOT DISTINCT FROM CAST(:batch_id AS uuid)
""")
_LOCK = text("""
    SELECT status, job_id, batch_id FROM exports WHERE id = :id AND tenant_id = :tenant_id
    FOR NO KEY UPDATE
""")
# Guarded by the batch: of several that find it has to begin anew, one has it begin.
_BEGIN_ANEW = text("""
    UPDATE exports
    SET status = 'queued', finished_at = NULL, error = NULL, batch_id = NULL, job_id = :job_id,
        whole = whole OR :whole
    WHERE id = :id
""")
_OF_BATCH = text("""
    SELECT tenant_id FROM exports WHERE id = :id AND batch_id = :batch_id AND status = ANY(:statuses)
    FOR NO KEY UPDATE
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """An export that an attempt is making into `key`. `left_open` is what an earlier attempt left: the key
    and id of a multipart upload. `whole` forbids to make it in parts.
    """

    id: UUID
    tenant_id: UUID
    order: Order
    key: str
    left_open: tuple[str, str] | None
    whole: bool


def place_order(tx: Connection, tenant_id: UUID, order: Order, *, max_open: int) -> UUID:
    """Record the export and enqueue its job; both are there once `tx` commits. Returns the export's id.

    Raises TooManyRequests (`too_many_exports`) when `max_open` of the tenant's are queued or running.
    """
    tx.execute(_TAKE_TURNS, {"tenant_id": str(tenant_id)})
    if tx.execute(_OPEN, {"tenant_id": tenant_id}).scalar_one() >= max_open:
        raise TooManyRequests(
            f"{counted(max_open, 'export is', 'exports are')} queued or running, which is the limit. "
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
        whole=row.whole or order.one_moment,
    )


def note_upload(tx: Connection, work: Work, upload_id: str) -> None:
    """So that the next attempt can abort it."""
    tx.execute(_UPLOAD, {"id": work.id, "key": work.key, "upload_id": upload_id})


def note_progress(tx: Connection, work: Work, *, done: int, total: int) -> None:
    """For whoever looks."""
    tx.execute(_PROGRESS, {"id": work.id, "done": done, "total": total})


def finish(
    tx: Connection, tenant_id: UUID, export_id: UUID, stored: Stored, *, rows: int, keep_days: int
) -> Sequence[JobContract]:
    """The file is there. Returns what is to be enqueued; nothing when the export was cancelled meanwhile."""
    ended = tx.execute(
        _FINISH,
        {
            "id": export_id,
            "rows": rows,
            "bytes": stored.bytes,
            "sha256": stored.sha256,
            "parts": _as_json(stored.pieces),
            "key": stored.key,
            "days": keep_days,
        },
    ).one_or_none()
    if ended is None:
        return ()
    return _tell(tx, tenant_id, export_id, stored, rows, ended)


def _as_json(pieces: Sequence[Piece]) -> str | None:
    return json.dumps([asdict(piece) for piece in pieces]) if pieces else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A file that is no table's: `wanted` says what it is about, `rows` how many things it lists."""

    id: UUID
    tenant_id: UUID
    job_id: UUID
    target: str
    format: ReportFormat
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


def end(tx: Connection, export_id: UUID, *, status: str, error: JobError) -> Row[Any] | None:
    """It failed or was cancelled; returns the `upload_key` and `upload_id` that it had, which may be null. One
    that has ended stays as it is: None.
    """
    shown = {"code": error["code"], "message": error["message"]}
    facts = {"id": export_id, "status": status, "error": json.dumps(shown)}
    return tx.execute(_END, facts).one_or_none()


def cancel_export(
    tx: Connection, aftermaths: Aftermaths, tenant_id: UUID, export_id: UUID, *, reason: str
) -> None:
    """Cancel it, with the jobs that make it; one that is cancelled already stays so.

    Raises NotFound, and Conflict when it has ended otherwise.
    """
    be_patient(tx)
    row = tx.execute(_LOCK, {"id": export_id, "tenant_id": tenant_id}).one_or_none()
    if row is None:
        raise missing(export_id)
    if row.status in {"succeeded", "failed"}:
        raise Conflict(f"Export {export_id} has {row.status}; there is nothing left to cancel.")
    if row.status == "cancelled":
        return
    if row.batch_id is None:
        cancel(tx, aftermaths, tenant_id, row.job_id, reason=reason)
        return
    end(tx, export_id, status="cancelled", error=job_error("cancelled", reason))
    with suppress(Conflict):  # they have all ended: what follows them finds it cancelled
        cancel_batch(tx, tenant_id, row.batch_id, reason=reason)


def begin_anew(
    tx: Connection, export_id: UUID, batch_id: UUID, *, of: Collection[str], whole: bool
) -> None:
    """Have it made once more, from its beginning, by another job; `whole` says: by one alone. Only if it is
    still made by that batch, and its status is one of these.
    """
    facts = {"id": export_id, "batch_id": batch_id, "statuses": list(of)}
    tenant_id = tx.execute(_OF_BATCH, facts).scalar_one_or_none()
    if tenant_id is not None:
        job = enqueue(tx, tenant_id, ExportTable(export_id=export_id))
        tx.execute(_BEGIN_ANEW, {"id": export_id, "job_id": job.id, "whole": whole})


def reopen(tx: Connection, export_id: UUID, *, batch_id: UUID | None = None) -> None:
    """Its job runs again; with a `batch_id` only if it is still made by that batch."""
    tx.execute(_REOPEN, {"id": export_id, "batch_id": batch_id})


def missing(export_id: UUID) -> NotFound:
    """What to raise for an export that isn't there, or is another tenant's."""
    return NotFound(f"There is no export {export_id}.")
