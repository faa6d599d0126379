"""An export as the API shows it."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field
from sqlalchemy import Connection, Row, Select, func, select

from app.api.idempotency import Answer
from app.exports.lifecycle import missing
from app.models.exports import Export


class ExportProgress(BaseModel):
    """`rows_total` is null until they are counted."""

    percent: float
    rows_done: int
    rows_total: int | None


class ExportError(BaseModel):
    """Why there is no file."""

    code: str
    message: str


class ExportPart(BaseModel):
    """A run of the file's bytes; `sha256` in hex."""

    bytes: int
    sha256: str


class ExportView(BaseModel):
    """A file that was made, or is being made. `rows`, `bytes` and `sha256` are known once it is there; one that
    was made in parts has `parts` instead of a `sha256` of the whole.

    `target` is a table, or `monthly_report`; then `wanted` is the month, and else filter and columns.
    """

    id: UUID
    status: Annotated[
        str, Field(examples=["queued", "running", "succeeded", "failed", "cancelled"])
    ]
    target: str
    format: str
    wanted: dict[str, Any]
    filename: str
    progress: ExportProgress
    rows: int | None
    bytes: int | None
    sha256: str | None
    parts: Annotated[
        list[ExportPart] | None,
        Field(description="Of a file that was made in parts: what it is made of, in this order."),
    ]
    job_id: UUID
    error: ExportError | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    expired: bool
    download: Annotated[str | None, Field(description="Where to fetch it, as long as it is there.")]


_AS_THEY_ARE = (
    *("id", "status", "target", "format", "wanted", "filename", "bytes", "sha256", "parts"),
    *("job_id", "error", "created_at", "started_at", "finished_at", "expires_at"),
)


def select_exports(tenant_id: UUID) -> Select[Any]:
    """The tenant's rows for `view_of`."""
    now = func.clock_timestamp().label("now")
    return select(Export.__table__, now).where(Export.tenant_id == tenant_id)


def load_export(tx: Connection, tenant_id: UUID, export_id: UUID) -> Row[Any]:
    """One row for `view_of`. Raises NotFound."""
    row = tx.execute(select_exports(tenant_id).where(Export.id == export_id)).one_or_none()
    if row is None:
        raise missing(export_id)
    return row


def view_of(row: Row[Any]) -> ExportView:
    """From a row of `select_exports`."""
    facts = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for it
    done = facts["status"] == "succeeded"
    expired = facts["expires_at"] is not None and facts["expires_at"] <= facts["now"]
    return ExportView(
        **{name: facts[name] for name in _AS_THEY_ARE},
        progress=_progress(facts),
        rows=facts["rows_total"] if done else None,
        expired=expired,
        download=f"/v1/exports/{facts['id']}/download" if done and not expired else None,
    )


def accepted_answer(tx: Connection, tenant_id: UUID, export_id: UUID, request: str = "") -> Answer:
    """202 with the export as it stands in this transaction."""
    return Answer(
        request_hash=request,
        status=202,
        location=f"/v1/exports/{export_id}",
        body=view_of(load_export(tx, tenant_id, export_id)).model_dump(mode="json"),
    )


def _progress(facts: Any) -> ExportProgress:
    done, total = facts["rows_done"], facts["rows_total"]
    percent = 100.0 if facts["status"] == "succeeded" else 0.0
    if total and percent == 0.0:
        percent = round(min(100.0, 100 * done / total), 1)
    return ExportProgress(percent=percent, rows_done=done, rows_total=total)
