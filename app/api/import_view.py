"""An import as the API shows it."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field
from sqlalchemy import Connection, Row, Select, func, select

from app.api.idempotency import Answer
from app.imports.apply import Policy
from app.imports.progress import estimate
from app.models.imports import Import
from app.tabular.layout import Layout


class ImportProgress(BaseModel):
    """How far it is; `percent` is by bytes, from 0 to 100. The last two are null until they are known."""

    percent: float
    rows_done: int
    bytes_done: int
    bytes_total: int
    rows_per_second: float | None
    seconds_left: int | None


class ImportCounts(BaseModel):
    """In the end `total = inserted + updated + unchanged + rejected`; `total` grows while the file is read."""

    total: int
    inserted: int
    updated: int
    unchanged: int
    rejected: int


class ImportProblem(BaseModel):
    """Why it failed."""

    code: str
    message: str


class ImportColumn(BaseModel):
    """A column of the file, and the target's field that it feeds; "" for none of them."""

    name: str
    field: str


class ImportUndo(BaseModel):
    """What undoing did so far: inserted rows removed, updated ones restored, others kept as they are."""

    status: Literal["running", "succeeded", "failed"]
    removed: int
    restored: int
    kept: int
    error: ImportProblem | None
    started_at: datetime | None
    finished_at: datetime | None


class ImportView(BaseModel):
    """An import. `layout` says how the file was read."""

    id: UUID
    status: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    filename: str
    target: str
    policy: Policy
    dry_run: bool
    all_or_nothing: bool
    retry_of: UUID | None = Field(description="The import whose rejected rows these are.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    columns: list[ImportColumn]
    layout: Layout | None
    progress: ImportProgress
    counts: ImportCounts
    error: ImportProblem | None
    undo: ImportUndo | None


_COUNTS = ("total", "inserted", "updated", "unchanged", "rejected")
_AS_THEY_ARE = (
    *("id", "status", "filename", "target", "policy", "dry_run", "all_or_nothing", "retry_of"),
    *("created_at", "started_at", "finished_at", "layout", "error"),
)


def select_imports() -> Select[Any]:
    """Rows for `view_of`."""
    return select(Import.__table__, func.clock_timestamp().label("now"))


def load_import(
    tx: Connection, import_id: UUID, tenant_id: UUID | None = None
) -> Row[tuple[Any, ...]] | None:
    """The row for `view_of`, whosever it is or of that tenant only."""
    query = select_imports().where(Import.id == import_id)
    if tenant_id is not None:
        query = query.where(Import.tenant_id == tenant_id)
    return tx.execute(query).one_or_none()


def view_of(row: Row[tuple[Any, ...]]) -> ImportView:
    """From a row of `select_imports`."""
    facts = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for it
    return ImportView(
        **{name: facts[name] for name in _AS_THEY_ARE},
        columns=[
            ImportColumn(name=name, field=field)
            for name, field in zip(facts["columns"], facts["fields"], strict=True)
        ],
        progress=_progress(facts),
        counts=ImportCounts(**{name: facts[name] for name in _COUNTS}),
        undo=_undo(facts),
    )


def accepted_answer(tx: Connection, import_id: UUID, request: str = "") -> Answer:
    """202 with the import as it stands in this transaction."""
    row = load_import(tx, import_id)
    assert row is not None
    return Answer(
        request_hash=request,
        status=202,
        location=f"/v1/imports/{import_id}",
        body=view_of(row).model_dump(mode="json"),
    )


def _progress(facts: Any) -> ImportProgress:
    done, total = facts["bytes_done"], facts["bytes_total"]
    guess = estimate(facts, facts["now"])
    return ImportProgress(
        percent=round(min(100.0, 100 * done / total), 1) if total else 0.0,
        rows_done=facts["rows_done"],
        bytes_done=done,
        bytes_total=total,
        rows_per_second=guess.rows_per_second,
        seconds_left=guess.seconds_left,
    )


def _undo(facts: Any) -> ImportUndo | None:
    if facts["undo_status"] is None:
        return None
    return ImportUndo(
        status=facts["undo_status"],
        removed=facts["undo_removed"],
        restored=facts["undo_restored"],
        kept=facts["undo_kept"],
        error=facts["undo_error"],
        started_at=facts["undo_started_at"],
        finished_at=facts["undo_finished_at"],
    )
