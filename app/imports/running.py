"""Doing a chunk: read it, clean it, write its rows, and store what was rejected or would change."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial

from sqlalchemy import Connection

from app.imports.apply import Applied, UndoSink, apply
from app.imports.chunks import Chunk, Result
from app.imports.compare import Change, Comparison, compare
from app.imports.files import part_key
from app.imports.lifecycle import OpenImport
from app.imports.reading import CleanChunk, Reader, clean_chunk, make_cleaner, make_reader
from app.imports.rejected import Part, make_part
from app.imports.retrying import ParentRows
from app.object_reader import Onward
from app.storage import Storage
from app.tabular import packed
from app.tabular.batch import Batch
from app.tabular.records import AHEAD_BYTES, read_range
from app.tabular.spreadsheet import csv_text

CHANGE_COLUMNS = ("_row", "action", "key", "field", "before", "after")
_CSV = "text/csv"

Look = Callable[[], AbstractContextManager[Connection]]
"""Opens a short transaction for reading."""


def reader_of(source: OpenImport, look: Look) -> Reader:
    """For the file of this import."""
    cleaner = make_cleaner(source)
    if source.retry_of is None:
        return make_reader(source, cleaner, lambda _: {})
    return make_reader(source, cleaner, ParentRows(look, source.retry_of).find)


def read_chunk(storage: Storage, source: OpenImport, chunk: Chunk) -> Iterator[Batch]:
    """The chunk's records, as the plan saw them."""
    if chunk.object_key is not None:
        yield from packed.load(b"".join(storage.stream(chunk.object_key)))
        return
    if source.layout is None:
        raise ValueError(f"import {source.id} has chunks and no layout")
    fetch = partial(storage.read_range, source.object_key)
    stream = Onward(fetch, chunk.start, chunk.end + AHEAD_BYTES, source.bytes_total)
    yield from read_range(
        stream,
        source.layout,
        first_row=chunk.first_row,
        start=chunk.start,
        end=chunk.end,
    )


def clean(storage: Storage, source: OpenImport, chunk: Chunk, look: Look) -> CleanChunk:
    """The chunk's rows, ready to be written."""
    batches = read_chunk(storage, source, chunk)
    return clean_chunk(reader_of(source, look), make_cleaner(source), batches, chunk.superseded)


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where an attempt at a chunk leaves its files. Written before the commit that names them: what an
    attempt leaves that came to nothing, the janitor clears away.
    """

    storage: Storage
    source: OpenImport
    chunk: Chunk
    attempt: str

    def keep_rejected(self, found: CleanChunk) -> tuple[Part | None, str | None]:
        """Store the rejected rows, if there are any."""
        part = make_part(found.rejects, found.facts, width=len(self.source.columns))
        if part is None:
            return None, None
        key = self._put("rejected", part.text)
        return replace(part, text=b""), key

    def keep_changes(self, changes: list[Change]) -> str | None:
        """Store what a dry run found."""
        text = csv_text(line for change in changes for line in _lines(change))
        return self._put("changes", text.encode("utf-8", "replace")) if text else None

    def _put(self, part: str, data: bytes) -> str:
        source = self.source
        key = part_key(source.tenant_id, source.id, part, self.chunk.index, self.attempt)
        self.storage.put(key, data, content_type=_CSV)
        return key


def write(tx: Connection, source: OpenImport, chunk: Chunk, found: CleanChunk) -> Applied:
    """Write the rows; those that the policy refuses join the rejected ones."""
    applied = apply(
        tx,
        source.target,
        source.tenant_id,
        found.cleaned,
        source.options.policy,
        undo=UndoSink(source.id, chunk.index),
        perhaps_new=source.all_new,
    )
    found.refuse(applied.rejects)
    return applied


def look_ahead(tx: Connection, source: OpenImport, found: CleanChunk) -> Comparison:
    """What writing the rows would do."""
    seen = compare(tx, source.target, source.tenant_id, found.cleaned, source.options.policy)
    found.refuse(seen.rejects)
    return seen


def result_of(
    found: CleanChunk,
    done: Applied | Comparison,
    kept: tuple[Part | None, str | None],
    changes_key: str | None = None,
) -> Result:
    """For the tick."""
    part, rejected_key = kept
    tally = done.tally
    return Result(
        total=found.total,
        inserted=tally.inserted,
        updated=tally.updated,
        unchanged=tally.unchanged,
        rejected=len(found.rejects),
        part=part,
        rejected_key=rejected_key,
        changes_key=changes_key,
    )


def _lines(change: Change) -> Iterator[list[str]]:
    """One line for a new row, one for each field of a changed one."""
    start = [str(change.row_number), change.action, change.key]
    if change.action == "insert":
        yield [*start, "", "", ""]
    elif change.action == "update":
        for name, (before, after) in change.fields.items():
            yield [*start, name, _text(before), _text(after)]


def _text(value: object) -> str:
    return "" if value is None else str(value)
