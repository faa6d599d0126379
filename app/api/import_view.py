"""An import as the API shows it."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import Row


class ImportProgress(BaseModel):
    """How far it is; `percent` is by bytes, from 0 to 100."""

    percent: float
    rows_done: int
    bytes_done: int
    bytes_total: int


class ImportCounts(BaseModel):
    """In the end `total = inserted + updated + unchanged + rejected`; `total` is known once planned."""

    total: int
    inserted: int
    updated: int
    unchanged: int
    rejected: int


class ImportProblem(BaseModel):
    """Why the import failed."""

    code: str
    message: str


class ImportView(BaseModel):
    """An import."""

    id: UUID
    status: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    filename: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    progress: ImportProgress
    counts: ImportCounts
    error: ImportProblem | None


def view_of(row: Row[tuple[object, ...]]) -> ImportView:
    """From a row of the `imports` table."""
    facts = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for it
    done, total = facts["bytes_done"], facts["bytes_total"]
    return ImportView(
        **{name: facts[name] for name in ("id", "status", "filename", "created_at", "started_at")},
        finished_at=facts["finished_at"],
        progress=ImportProgress(
            percent=round(100 * done / total, 1) if total else 0.0,
            rows_done=facts["rows_done"],
            bytes_done=done,
            bytes_total=total,
        ),
        counts=ImportCounts(
            **{n: facts[n] for n in ("total", "inserted", "updated", "unchanged", "rejected")}
        ),
        error=facts["error"],
    )
