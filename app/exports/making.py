"""From an order to a file in the object store."""

import io
import time
from collections.abc import Callable
from contextlib import closing
from typing import Protocol
from uuid import UUID

from sqlalchemy import Connection

from app.errors import Unprocessable
from app.exports.file_format import FORMATS, XLSX_MAX_ROWS, csv_header, write_csv_rows
from app.exports.lifecycle import Work
from app.exports.object_writer import ObjectWriter, Stored
from app.exports.order import Format, content_type_of
from app.exports.parts import LEAST_BYTES, MOST_BYTES, PartOf
from app.exports.rows import Selection, columns_of, copy_rows, select_rows, take_snapshot
from app.plurals import counted
from app.storage import Storage

TELL_SECONDS = 1.0


class Unfit(Exception):
    """These parts can't become a file: one is too small or too large, or the store doesn't take it."""


class Watch(Protocol):
    """Whoever follows an export: each call may raise, and then it comes to nothing."""

    def uploading(self, upload_id: str) -> None:
        """The multipart upload is open."""

    def written(self, done: int, total: int) -> None:
        """So many rows are written, of so many; about once a second."""


def choose(db: Connection, work: Work, *, max_rows: int) -> Selection:
    """The rows that `db` sees from here on, a connection at the beginning of its transaction.

    Raises Unprocessable for what can never be written.
    """
    order = work.order
    take_snapshot(db)
    chosen = select_rows(db, order, work.tenant_id, spread=order.format is not Format.PARQUET)
    if order.format is Format.XLSX:
        max_rows = min(max_rows, XLSX_MAX_ROWS)
    if chosen.rows > max_rows:
        raise Unprocessable(
            f"These are {counted(chosen.rows, 'row')}; as {order.format.value} an export has {max_rows:,} at "
            "most. Export them in parts, by 'filter', or ask for 'csv' or 'parquet'.",
            code="too_many_rows",
        )
    return chosen


def make_file(
    db: Connection, storage: Storage, work: Work, chosen: Selection, watch: Watch
) -> tuple[Stored, int]:
    """Write the rows that were chosen into `work.key`.

    Returns the file and how many rows it has. Raises Unprocessable for what can never be written, and what
    `watch` raises; then nothing of it stays in the store.
    """
    order = work.order
    watch.written(0, chosen.rows)
    tell = _now_and_then(lambda done: watch.written(done, chosen.rows))
    blocks = copy_rows(db, order, work.tenant_id, chosen.columns)
    with (
        closing(blocks),
        ObjectWriter(
            storage, work.key, content_type=content_type_of(order.format), begun=watch.uploading
        ) as sink,
    ):
        count = FORMATS[order.format](sink, blocks, chosen.columns, seen=tell)
        return sink.finish(), count


def make_part(
    db: Connection, tenant_id: UUID, part: PartOf, *, check: Callable[[], None]
) -> tuple[bytes, int]:
    """The part's lines, with the header in front of the first part's, and how many rows they are. `db` is a
    connection at the beginning of its transaction; `check` is called now and then and may raise.

    Raises Unfit when they are fewer bytes than a part has, or more.
    """
    take_snapshot(db)
    columns = columns_of(part.order, part.attributes)
    sink = io.BytesIO()
    if part.between.first is None:
        sink.write(csv_header(columns))

    def seen(_rows: int) -> None:
        check()
        if sink.tell() > MOST_BYTES:
            raise Unfit

    blocks = copy_rows(db, part.order, tenant_id, columns, part.between)
    with closing(blocks):
        rows = write_csv_rows(sink, blocks, seen=seen)
    if sink.tell() < LEAST_BYTES and part.between.before is not None:
        raise Unfit
    return sink.getvalue(), rows


def _now_and_then(tell: Callable[[int], None]) -> Callable[[int], None]:
    """The same, but for calls that come too soon after the last one."""
    told = time.monotonic()

    def seen(done: int) -> None:
        nonlocal told
        if time.monotonic() - told >= TELL_SECONDS:
            tell(done)
            told = time.monotonic()

    return seen
