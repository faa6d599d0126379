"""The import's own row: accept, start, end, cancel. Every step joins the caller's transaction, and says on
PROGRESS_CHANNEL that the import has changed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection, Row, text

from app.errors import Conflict, NotFound
from app.imports import parts
from app.imports.options import ImportOptions
from app.imports.remembered import remember_fields
from app.imports.targets import TARGETS, Target
from app.jobs import ImportFinishedMail, ImportPlan
from app.ledger.contract import JobContract
from app.ledger.enqueue import enqueue
from app.tabular.layout import Layout
from app.webhooks.emitting import emit

PROGRESS_CHANNEL = "import_progress"
"""NOTIFY on this channel, with the import's id, comes with every commit that changes the import's row."""

_INSERT = text("""
    INSERT INTO imports (id, tenant_id, job_id, filename, object_key, sha256, checksum_wanted, source,
                         retry_of, target, policy, dry_run, all_or_nothing, options, layout, columns,
                         fields, bytes_total)
    VALUES (:id, :tenant_id, :job_id, :filename, :object_key, :sha256, :checksum_wanted, :source,
            :retry_of, :target, :policy, :dry_run, :all_or_nothing, CAST(:options AS jsonb),
            CAST(:layout AS jsonb), CAST(:columns AS jsonb), CAST(:fields AS jsonb), :bytes_total)
""")
_LOAD = text("""
    SELECT id, tenant_id, status, object_key, checksum_wanted, source, retry_of, target, policy, dry_run,
           all_or_nothing, options, layout, columns, fields, bytes_total, planned_at IS NOT NULL AS planned,
           updated + unchanged + CASE WHEN policy = 'insert' THEN rejected ELSE 0 END = 0 AS all_new
    FROM imports WHERE id = :id AND status IN ('queued', 'running')
""")
_START = text("""
    UPDATE imports SET status = 'running', started_at = coalesce(started_at, clock_timestamp())
    WHERE id = :id AND (status = 'queued' OR (status = 'running' AND started_at IS NULL))
    RETURNING pg_notify('import_progress', id::text)
""")
_END = text("""
    UPDATE imports
    SET status = :status, finished_at = clock_timestamp(), error = CAST(:error AS jsonb),
        bytes_done = CASE WHEN :status = 'succeeded' THEN bytes_total ELSE bytes_done END
    WHERE id = :id AND status IN ('queued', 'running')
    RETURNING tenant_id, filename, dry_run, total, inserted, updated, unchanged, rejected,
              pg_notify('import_progress', id::text)
""")
_REOPEN = text("""
    UPDATE imports SET status = 'running', finished_at = NULL, error = NULL,
                       ticked_at = clock_timestamp(), recent_rows = 0, recent_seconds = 0
    WHERE id = :id AND status = 'failed' AND undo_status IS NULL
    RETURNING pg_notify('import_progress', id::text)
""")
_OWN = text(
    "SELECT status FROM imports WHERE id = :id AND tenant_id = :tenant_id FOR NO KEY UPDATE"
)
_ENDED = {"succeeded": "has succeeded", "failed": "has failed", "cancelled": "was cancelled"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file, complete in S3, that was found readable. `fields[i]` is the field of column i, or "".

    `sha256` is what was computed on the way in, in hex; where the file went past us it is None, and
    `checksum_wanted` what the sender announced, for the plan to check. `mapping_given`: the caller chose
    the fields, and they are remembered for the next file with this header.
    """

    object_key: str
    filename: str
    size: int
    layout: Layout
    fields: Sequence[str] = ()
    sha256: str | None = None
    checksum_wanted: str | None = None
    source: Literal["upload", "direct", "retry"] = "upload"
    mapping_given: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenImport:
    """An import that has not ended. `layout` is None where an older release accepted it; `all_new`: none of
    its rows was found to be there already, so far.
    """

    id: UUID
    tenant_id: UUID
    status: str
    object_key: str
    checksum_wanted: str | None
    source: str
    retry_of: UUID | None
    target: Target
    options: ImportOptions
    layout: Layout | None
    columns: list[str]
    fields: list[str]
    bytes_total: int
    planned: bool
    all_new: bool

    @property
    def at_once(self) -> bool:
        """Whether all rows go in by one transaction, or none does."""
        return self.options.all_or_nothing and not self.options.dry_run


def accept_import(
    tx: Connection, tenant_id: UUID, import_id: UUID, file: StoredFile, options: ImportOptions
) -> None:
    """Record the import and enqueue its plan; both are there once `tx` commits. `options` are those that
    apply: with what was decided about the values' formats.
    """
    add_import(tx, tenant_id, import_id, file, options, columns=file.layout.columns)
    if file.mapping_given:
        remember_fields(tx, tenant_id, options.target, file.layout.columns, file.fields)


def add_import(
    tx: Connection,
    tenant_id: UUID,
    import_id: UUID,
    file: StoredFile,
    options: ImportOptions,
    *,
    columns: Sequence[str],
    retry_of: UUID | None = None,
) -> None:
    """`columns` are those that hold the rows' values, and each has its field in `file.fields`."""
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
            "checksum_wanted": file.checksum_wanted,
            "source": file.source,
            "retry_of": retry_of,
            "target": options.target,
            "policy": options.policy.value,
            "dry_run": options.dry_run,
            "all_or_nothing": options.all_or_nothing,
            "options": options.model_dump_json(),
            "layout": file.layout.model_dump_json(),
            "columns": json.dumps(list(columns)),
            "fields": json.dumps(list(file.fields)),
            "bytes_total": file.size,
        },
    )


def load_open(tx: Connection, import_id: UUID) -> OpenImport | None:
    """The import, or None when it has ended."""
    row = tx.execute(_LOAD, {"id": import_id}).one_or_none()
    return None if row is None else _open_import(row)


def start(tx: Connection, import_id: UUID) -> None:
    """The plan is being made."""
    tx.execute(_START, {"id": import_id})


def end(
    tx: Connection, import_id: UUID, *, status: str, error: dict[str, str] | None = None
) -> list[JobContract]:
    """End the import once, and tell the tenant's endpoints; a second call changes nothing. Returns what is
    to be enqueued.
    """
    ended = tx.execute(
        _END,
        {"id": import_id, "status": status, "error": json.dumps(error) if error else None},
    ).one_or_none()
    if ended is None:
        return []
    counts = ("total", "inserted", "updated", "unchanged", "rejected")
    data = {
        "import_id": import_id,
        "status": status,
        "filename": ended.filename,
        "dry_run": ended.dry_run,
        "counts": {name: getattr(ended, name) for name in counts},
        "error": error,
    }
    emit(tx, ended.tenant_id, "import.finished", data)
    return [ImportFinishedMail(import_id=import_id)]


def cancel_import(tx: Connection, tenant_id: UUID, import_id: UUID) -> None:
    """End the import as cancelled. What is committed stays, is counted and can be undone; from the commit
    of this on no row is written. One that is cancelled already stays so.

    Raises NotFound, and Conflict when it has ended otherwise.
    """
    row = tx.execute(_OWN, {"id": import_id, "tenant_id": tenant_id}).one_or_none()
    if row is None:
        raise missing(import_id)
    if row.status == "cancelled":
        return
    if row.status in _ENDED:
        raise Conflict(f"Import {import_id} {_ENDED[row.status]}; there is nothing left to cancel.")
    error = {"code": "cancelled", "message": "It was cancelled on request."}
    parts.take_back(tx, import_id, reason=error["message"])
    for job in end(tx, import_id, status="cancelled", error=error):
        enqueue(tx, tenant_id, job)


def reopen(tx: Connection, import_id: UUID) -> bool:
    """Go on with a failed import; False when it isn't a failed one, or is being undone."""
    return tx.execute(_REOPEN, {"id": import_id}).one_or_none() is not None


def missing(import_id: UUID) -> NotFound:
    """What to raise for an import that isn't there, or is another tenant's."""
    return NotFound(f"There is no import {import_id}.")


def _open_import(row: Row[Any]) -> OpenImport:
    facts = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    for name in ("policy", "dry_run", "all_or_nothing"):
        del facts[name]
    layout = facts.pop("layout")
    return OpenImport(
        **{
            **facts,
            "target": TARGETS[row.target],
            "options": ImportOptions.model_validate({**row.options, "target": row.target}),
            "layout": None if layout is None else Layout.model_validate(layout),
        }
    )
