"""Opening a table: what the file is, how it is laid out, and what is doubtful about that."""

import io
import re
from typing import BinaryIO

from app.errors import Unprocessable
from app.tabular import container, workbook
from app.tabular.dialect import find_grammar
from app.tabular.encoding import Encoding, find_encoding
from app.tabular.findings import describe
from app.tabular.foreign import nothing
from app.tabular.grammar import NUL, Grammar, without_marks
from app.tabular.layout import Doubt, Hints, Layout
from app.tabular.parsing import parse
from app.tabular.records import MAX_LINE_BYTES, Decoder, Window
from app.tabular.refusal import empty_file, refuse_early, wrong_type
from app.tabular.regular import Records
from app.tabular.structure import is_several, table_width
from app.tabular.table import Table, text_stream, unpacked
from app.tabular.touch_up import empty_rules

__all__ = ["HEAD_BYTES", "Table", "open_table", "refuse_early", "reopen"]

SEEN_BYTES = 256 * 1024
"""How much of the text tells its layout, in whole lines."""
HEAD_BYTES = MAX_LINE_BYTES + SEEN_BYTES
"""How much of a file's beginning may have to be looked at."""
MAX_COLUMNS = 2000
_NO_HINTS = Hints()
_SAMPLES = 8
_SAMPLE_BYTES = 64 * 1024
_SEPARATOR_LINE = re.compile(r"\"?sep=(.|\\t)\"?[ ,;\t]*(?:\r\n?|\n)", re.IGNORECASE)
_CONTROLS = re.compile("[\x03-\x08\x0e-\x1a\x7f]")
_TOO_MANY_CONTROLS = 0.02
_FEW_CONTROLS = 3
_CLOSE = 0.65
_MENDED = 0.9


def open_table(source: BinaryIO, *, filename: str = "", hints: Hints = _NO_HINTS) -> Table:
    """The table in a seekable file, found out as far as the hints leave it open.

    Reads a bounded part of the file, except for the directory of an archive and for workbooks. Raises
    UnsupportedMediaType, TooLarge or Unprocessable, each with a stable code.
    """
    del filename
    source.seek(0)
    head = source.read(HEAD_BYTES)
    refuse_early(head)
    if container.is_workbook(head, source):
        return _open_workbook(source, Layout(kind="xlsx"), hints)
    layout = Layout(container=container.kind_of(head))
    if layout.container == "zip":
        with container.open_archive(source) as archive:
            layout = layout.model_copy(
                update={"member": container.pick_member(archive, hints.member)}
            )
    if layout.container != "plain":
        with unpacked(source, layout) as stream:
            head = _read(stream, HEAD_BYTES)
        refuse_early(head)
        if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
            return _open_workbook(source, layout.model_copy(update={"kind": "xlsx"}), hints)
    return Table(source, _layout_of_text(source, head, layout, hints))


def reopen(source: BinaryIO, layout: Layout) -> Table:
    """The table of a file whose layout is known; looks for nothing."""
    return Table(source, layout)


def _layout_of_text(source: BinaryIO, head: bytes, layout: Layout, hints: Hints) -> Layout:
    complete = len(head) < HEAD_BYTES
    plain = layout.container == "plain"
    found = find_encoding(
        head, hints.encoding, complete=complete,
        more=lambda: _samples(source) if plain and not complete else b"",
    )  # fmt: skip
    layout = layout.model_copy(update={"encoding": found.name, "bom_bytes": found.bom_bytes})
    with text_stream(source, layout) as (stream, readable):
        window = Window(stream, 0)
        window.advance(readable.bom_bytes)
        block, final = window.block(SEEN_BYTES)
    text = without_marks(Decoder(readable.encoding)(block))
    _refuse_binary(text)
    return _layout_of_block(text, layout, found, hints, final=final)


def _layout_of_block(
    text: str, layout: Layout, found: Encoding, hints: Hints, *, final: bool
) -> Layout:
    if not text.strip(" \t\r\n\x00\x1a\ufeff,;|"):
        raise (
            empty_file()
            if not text.strip()
            else Unprocessable(
                "There is nothing in the file but blank lines. Send one with a header row and rows.",
                code="empty_file",
            )
        )
    separator = _SEPARATOR_LINE.match(text)
    if separator and hints.delimiter is None:
        hints = hints.model_copy(update={"delimiter": separator.group(1).replace("\\t", "\t")})
    grammar, scored = find_grammar(text[separator.end() :] if separator else text, hints)
    if grammar.escape != "\0":
        text = text.replace("\0", "")
    records = list(parse(text, grammar, 0, final=final).records)
    empty_rules(records)
    width = table_width(records[1:] if separator else records)
    _check_columns(width)
    width = _mended_width(text, grammar, records, width, final=final)
    records = list(parse(text, grammar, width, final=final, fits=nothing).records)
    ruled = empty_rules(records)
    if separator:
        records[0] = []
    doubts = [*found.doubts, *_doubtful(grammar, scored, hints)]
    layout = layout.model_copy(update={**_fields(grammar), "ruled": ruled})
    return describe(records, layout, width, hints, doubts, complete=final)


def _mended_width(text: str, grammar: Grammar, records: Records, width: int, *, final: bool) -> int:
    """The header's width where nearly all rows are wider for their broken quotes alone."""
    header = next((len(record) for record in records if is_several(record)), width)
    if header >= width or not grammar.quote or grammar.quote not in text:
        return width
    again = parse(text, grammar, header, final=final)
    rows = [record for record in again.records if record]
    fitting = sum(len(record) == header for record in rows) - len(again.problems)
    return header if again.repaired and fitting >= _MENDED * len(rows) else width


def _open_workbook(source: BinaryIO, layout: Layout, hints: Hints) -> Table:
    with unpacked(source, layout) as stream:
        name, records, sheets = workbook.open_sheet(stream, hints.sheet)
    doubts = []
    if len(sheets) > 1:
        others = ", ".join(repr(sheet) for sheet in sheets if sheet != name)[:500]
        doubts.append(
            Doubt(code="several_sheets", message=f"Only the sheet {name!r} is read, not {others}.")
        )
    sample = records[: workbook.SAMPLE_ROWS]
    widths = sorted(len(_without_empty_end(record)) for record in sample) or [1]
    width = widths[-1]
    if width > MAX_COLUMNS and len(widths) > 1:  # a cell that somebody filled far out, perhaps
        width = widths[-2]
    _check_columns(width)
    fitted = [workbook.fitted(record, width) for record in records]
    layout = layout.model_copy(update={"sheet": name})
    return Table(source, describe(fitted, layout, width, hints, doubts, complete=True))


def _without_empty_end(record: list[str]) -> list[str]:
    end = len(record)
    while end and not record[end - 1].strip():
        end -= 1
    return record[:end]


def _fields(grammar: Grammar) -> dict[str, object]:
    return {
        "delimiter": grammar.delimiter,
        "quote": grammar.quote,
        "escape": NUL if grammar.escape == "\0" else grammar.escape,
        "doubled": grammar.doubled,
        "skip_space": grammar.skip_space,
        "tail": grammar.wrapping.tail,
        "wrapped": grammar.wrapping.quoted,
    }


def _doubtful(grammar: Grammar, scored: list[tuple[float, Grammar]], hints: Hints) -> list[Doubt]:
    """Another delimiter would have done nearly as well."""
    if not scored:
        return []
    if grammar.delimiter == " " and grammar.skip_space and not hints.delimiter:
        return [
            Doubt(
                code="aligned_by_spaces",
                message="The columns are separated by runs of spaces, so a value with a space in it is taken "
                "for several. If that is so, send the file with commas or tabs.",
            )
        ]
    best = scored[0][0]
    rivals = {
        other.delimiter
        for worth, other in scored[1:]
        if worth > _CLOSE * best and other.delimiter.strip() != grammar.delimiter.strip()
    }
    if not rivals or hints.delimiter:
        return []
    listed = " or ".join(repr(each) for each in sorted(rivals))
    return [
        Doubt(
            code="delimiter_unsure",
            message=f"The cells seem to be separated by {grammar.delimiter!r}, but {listed} is likely too.",
        )
    ]


def _refuse_binary(text: str) -> None:
    """Control characters that no text has; those that separate cells don't count."""
    sample = text[:8192].rstrip("\0")
    controls = len(_CONTROLS.findall(sample))
    zeros = sample.count("\x00")
    if controls > max(_FEW_CONTROLS, _TOO_MANY_CONTROLS * len(sample)) or zeros * 4 > len(sample):
        raise wrong_type("binary data")


def _check_columns(width: int) -> None:
    if width > MAX_COLUMNS:
        raise Unprocessable(
            f"The table has {width:,} columns; at most {MAX_COLUMNS:,} are read. "
            "Check that its rows are separated by line breaks.",
            code="too_many_columns",
        )


def _read(stream: BinaryIO, size: int) -> bytes:
    pieces = io.BytesIO()
    while pieces.tell() < size and (piece := stream.read(size - pieces.tell())):
        pieces.write(piece)
    return pieces.getvalue()


def _samples(source: BinaryIO) -> bytes:
    """Whole lines from several places of a large file."""
    size = source.seek(0, io.SEEK_END)
    found = []
    for number in range(1, _SAMPLES + 1):
        source.seek(max(0, size * number // _SAMPLES - _SAMPLE_BYTES))
        piece = source.read(_SAMPLE_BYTES)
        found.append(piece[piece.find(b"\n") + 1 : piece.rfind(b"\n") + 1])
    return b"".join(found)
