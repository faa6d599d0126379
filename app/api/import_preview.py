"""What an import would do, from the beginning of a file; nothing is kept of it."""

import tempfile
from typing import IO, Any, BinaryIO, Literal, cast
from uuid import UUID

import anyio.to_thread
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect

from app.api.import_bodies import FILE_BODY, QueryForm
from app.api.import_view import ImportCounts, ImportProblem
from app.api.problems import describe
from app.api.session import CurrentTenant, Place, PlaceDep
from app.api.targets import TargetView, target_view
from app.api.upload_form import Enough, Form, read_upload
from app.errors import InvalidRequest, TooLarge
from app.imports.options import ImportOptions
from app.imports.previewing import Preview, PreviewRow, SampledColumn, preview, read_beginning
from app.scanning.gate import refuse_infected
from app.tabular.detect import refuse_early
from app.tabular.layout import Layout

router = APIRouter(prefix="/v1", tags=["imports"])

HEAD_BYTES = 1024 * 1024
WHOLE_BYTES = 64 * 1024 * 1024
_IN_MEMORY_BYTES = 2 * HEAD_BYTES
_FIRST_BYTES = 4096
_PACKED = (b"PK", b"\x1f\x8b")
"""How zip archives, workbooks among them, and gzip files begin: there is no reading them from a part."""


class PreviewColumn(BaseModel):
    """A column, the field that it would feed ("" for none) and why; `confidence` is from 0 to 1. One that is
    `ignored` is left out; without a field and not ignored, it is kept as an attribute.
    """

    name: str
    field: str
    confidence: float
    reason: str
    ignored: bool
    samples: list[str]


class PreviewedRow(BaseModel):
    """A row and what would become of it. `changes` has [before, after] of each field that would change;
    of a rejected row, `column`, `code` and `message` say what is wrong.
    """

    row: int
    action: Literal["insert", "update", "unchanged", "reject"]
    cells: list[str]
    values: dict[str, Any]
    changes: dict[str, list[Any]]
    column: str | None
    code: str | None
    message: str | None


class PreviewView(BaseModel):
    """What is known from the first `bytes_read` bytes; all of the file if `complete`. `rows` and `counts`
    are about the first 100 rows. `problem`: why there are none, such as no column with the key.
    """

    filename: str
    complete: bool
    bytes_read: int
    layout: Layout
    target: TargetView
    options: ImportOptions = Field(description="With what the values themselves have decided.")
    columns: list[PreviewColumn]
    rows: list[PreviewedRow]
    counts: ImportCounts
    problem: ImportProblem | None


class Beginning:
    """Takes what is needed of a file: its first bytes, or all of it where that is what it takes to read any."""

    def __init__(self) -> None:
        self.file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115
        self.size = 0
        self.complete = True
        self._first = b""

    async def write(self, data: bytes) -> None:
        """Raises Enough when no more is needed, TooLarge for a packed file beyond WHOLE_BYTES."""
        if len(self._first) < _FIRST_BYTES:
            self._first += data[: _FIRST_BYTES - len(self._first)]
        packed = self._first.startswith(_PACKED)
        room = (WHOLE_BYTES if packed else HEAD_BYTES) - self.size
        self.file.write(data[:room])
        self.size += min(len(data), room)
        if len(data) <= room:
            return
        if packed:
            raise TooLarge(
                f"A packed file of more than {WHOLE_BYTES} bytes can't be previewed. "
                "Import it with the option dry_run instead.",
                code="too_large_to_preview",
            )
        self.complete = False
        raise Enough

    def check(self) -> None:
        """Raises for what is clearly no table."""
        if self._first:
            refuse_early(self._first)


@router.post(
    "/imports/preview",
    openapi_extra={"requestBody": FILE_BODY},
    responses=describe(400, 413, 415, 422),
)
async def preview_import(
    request: Request, tenant_id: CurrentTenant, place: PlaceDep, query: QueryForm
) -> PreviewView:
    """See how a file would be read and mapped, and what would become of its first rows. No effects.

    Of plain text at most 1 MiB is read; so in a form, 'mapping' and 'options' come before 'file'.
    """
    beginning = Beginning()
    with beginning.file:
        try:
            form = await read_upload(
                request.headers.get("content-type", ""), request.stream(), query, beginning.write
            )
        except ClientDisconnect:
            raise InvalidRequest(
                "The connection ended before the file did. Send it again, whole.",
                code="incomplete_body",
            ) from None
        beginning.check()

        return await anyio.to_thread.run_sync(_preview, place, tenant_id, form, beginning)


def _preview(place: Place, tenant_id: UUID, form: Form, beginning: Beginning) -> PreviewView:
    options = form.import_options
    beginning.file.seek(0)
    source = cast("BinaryIO", beginning.file)
    refuse_infected(place.settings, source)
    read = read_beginning(source, form.filename, options, whole=beginning.complete)
    with place.engine.connect() as connection:
        tx = connection.execution_options(postgresql_readonly=True)
        found = preview(tx, tenant_id, read, form.mapping, options)
    return PreviewView(
        filename=form.filename,
        complete=beginning.complete,
        bytes_read=beginning.size,
        layout=found.layout,
        target=target_view(options.rows),
        options=found.options,
        columns=list(map(_column, found.columns)),
        rows=list(map(_row, found.rows)),
        counts=_counts(found),
        problem=found.problem
        and ImportProblem(code=found.problem.code, message=str(found.problem)),
    )


def _column(column: SampledColumn) -> PreviewColumn:
    guess = column.guess
    return PreviewColumn(
        name=guess.column,
        field=guess.field,
        confidence=guess.confidence,
        reason=guess.reason,
        ignored=guess.ignored,
        samples=column.samples,
    )


def _row(row: PreviewRow) -> PreviewedRow:
    return PreviewedRow(
        row=row.row_number,
        action=row.action,
        cells=row.cells,
        values=row.values,
        changes=row.changes,
        column=row.column,
        code=row.code,
        message=row.message,
    )


def _counts(found: Preview) -> ImportCounts:
    tally = found.tally
    return ImportCounts(
        total=len(found.rows),
        inserted=tally.inserted,
        updated=tally.updated,
        unchanged=tally.unchanged,
        rejected=sum(row.action == "reject" for row in found.rows),
    )
