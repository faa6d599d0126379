"""What an import leaves to fetch: rejected rows, a dry run's changes, what undo kept."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from app.api.problems import describe
from app.api.session import CurrentTenant, PlaceDep
from app.imports.downloads import changes_csv, rejected_csv, undo_csv

router = APIRouter(prefix="/v1", tags=["imports"])

_CSV: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "UTF-8, RFC 4180, safe to open in a spreadsheet.",
        "content": {"text/csv": {"schema": {"type": "string"}}},
    }
}


@router.get(
    "/imports/{import_id}/rejected.csv",
    response_class=StreamingResponse,
    responses={**_CSV, **describe(404, 422)},
)
def get_rejected(import_id: UUID, tenant_id: CurrentTenant, place: PlaceDep) -> StreamingResponse:
    """The rejected rows as they were sent, plus `_row`, `_column` and `_error`."""
    blocks = rejected_csv(place.engine, place.storage, tenant_id, import_id)
    return _download(blocks, f"rejected-{import_id}.csv")


@router.get(
    "/imports/{import_id}/changes.csv",
    response_class=StreamingResponse,
    responses={**_CSV, **describe(404, 409, 422)},
)
def get_changes(import_id: UUID, tenant_id: CurrentTenant, place: PlaceDep) -> StreamingResponse:
    """What a dry run found: a line for each row that would be new, and each field that would change."""
    blocks = changes_csv(place.engine, place.storage, tenant_id, import_id)
    return _download(blocks, f"changes-{import_id}.csv")


@router.get(
    "/imports/{import_id}/undo.csv",
    response_class=StreamingResponse,
    responses={**_CSV, **describe(404, 409, 422)},
)
def get_undo(import_id: UUID, tenant_id: CurrentTenant, place: PlaceDep) -> StreamingResponse:
    """The rows that undo left as they are, and why."""
    return _download(undo_csv(place.engine, tenant_id, import_id), f"undo-{import_id}.csv")


def _download(blocks: Iterator[bytes], filename: str) -> StreamingResponse:
    return StreamingResponse(
        blocks,
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )
