"""A table in a file: its rows in batches, from the first data record to the last."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from app.tabular import container, workbook
from app.tabular.batch import Batch
from app.tabular.ending import Ending
from app.tabular.layout import Layout
from app.tabular.records import Cut, RecordReader
from app.tabular.regular import Records
from app.tabular.transcoding import AsUtf8

_OVERLAP = 6


class Table:
    """Rows under a known layout; `batches` may be called again and gives the same."""

    def __init__(self, source: BinaryIO, layout: Layout) -> None:
        self.layout = layout
        self.footer_rows = 0
        """Records after the last row that `batches` left out; known when it has come to the end."""
        self._source = source

    def batches(self) -> Iterator[Batch]:
        """From the first data record on, without what follows the table: totals, notes, other tables.

        Raises TooLarge and Unprocessable where the file turns out not to be readable after all.
        """
        if self.layout.kind == "xlsx":
            with unpacked(self._source, self.layout) as stream:
                yield from workbook.batches(stream, self.layout)
            return
        with text_stream(self._source, self.layout) as (stream, layout):
            reader = RecordReader(stream, layout, first_row=1)
            reader.skip_to(layout.first_row)
            if layout.exact:
                yield from (self._located(cut.batch) for cut in reader.cuts())
            else:
                yield from self._until_end(reader)

    def _until_end(self, reader: RecordReader) -> Iterator[Batch]:
        """Holds a batch back where its end may be the beginning of a footer or of another table."""
        ending = Ending(self.layout.columns, self.layout.kinds)
        held: list[Cut] = []
        tail: Records = []
        for cut in reader.cuts():
            records = cut.batch.records
            held.append(cut)
            if tail or not (cut.parsed.regular and ending.is_regular(records)):
                end = ending.next_table([*tail, *records])
                if end is not None:
                    yield from self._finish(ending, held, end - len(tail))
                    return
            if len(held) > 1:
                yield self._located(held.pop(0).batch)
            tail = records[-_OVERLAP:]
            if ending.is_regular(tail):
                tail = []
                if not reader.near_end():
                    yield self._located(held.pop().batch)
        yield from self._finish(ending, held, None)

    def _located(self, batch: Batch) -> Batch:
        """With offsets in the source: of its bytes where they can be read again, else as progress."""
        if not self.layout.rangeable:
            batch.start, batch.end = 0, self._source.tell()
        return batch

    def _finish(self, ending: Ending, held: list[Cut], end: int | None) -> Iterator[Batch]:
        """The held batches without what comes after the table."""
        counts = [len(cut.batch.records) for cut in held]
        everything = [record for cut in held for record in cut.batch.records]
        whole = len(everything) if end is None else sum(counts[:-1]) + end
        kept = ending.without_footer(everything[:whole])
        self.footer_rows = len(everything) - kept
        for cut in held:
            share = min(kept, len(cut.batch.records))
            kept -= share
            if share:
                cut.shorten(share)
                yield self._located(cut.batch)


@contextmanager
def unpacked(source: BinaryIO, layout: Layout) -> Iterator[BinaryIO]:
    """The bytes of the table itself, out of what it is packed in."""
    source.seek(0)
    if layout.container == "gzip":
        yield container.open_gzip(source)
    elif layout.container == "zip":
        with container.open_archive(source) as archive:
            member = container.open_member(archive, layout.member or "")
            yield io.BytesIO(workbook.bounded(member)) if layout.kind == "xlsx" else member
    else:
        yield source


@contextmanager
def text_stream(source: BinaryIO, layout: Layout) -> Iterator[tuple[BinaryIO, Layout]]:
    """The table's text as bytes of a byte-oriented encoding, and the layout that is true of them."""
    with unpacked(source, layout) as stream:
        if layout.encoding.startswith(("utf-16", "utf-32")):
            wide = AsUtf8(stream, layout.encoding, layout.bom_bytes)
            yield (
                wide,  # type: ignore[misc]
                layout.model_copy(update={"encoding": "utf-8", "bom_bytes": 0}),
            )
        else:
            yield stream, layout
