"""The text of a DOCX: paragraphs and tables in their order."""

import zipfile
from collections.abc import Iterator
from typing import BinaryIO

import docx
from docx.blkcntnr import BlockItemContainer
from docx.document import Document
from docx.opc.exceptions import OpcError
from docx.table import Table, _Cell
from lxml import etree

from app.files.sandbox.refusal import Refused

MAX_MEMBERS = 5000
MAX_BYTES = 200 * 1024 * 1024
MAX_XML_BYTES = 32 * 1024 * 1024
_MAX_DEPTH = 20
_FAULTS = (zipfile.BadZipFile, OpcError, etree.XMLSyntaxError, KeyError, ValueError, AttributeError, OSError,
           NotImplementedError, RuntimeError, EOFError)  # fmt: skip


def blocks(source: BinaryIO) -> Iterator[str]:
    """A line for each paragraph, and for each row of a table. Raises Refused."""
    try:
        check_archive(source)
        document = docx.Document(source)
        yield from _blocks(document, 0)
    except _FAULTS as bad:
        raise Refused(f"The document can't be read: {str(bad)[:200]}", "undecodable") from None


def check_archive(source: BinaryIO) -> None:
    """By what the directory declares: of each member no more than that is ever unpacked. Raises Refused."""
    with zipfile.ZipFile(source) as archive:
        members = archive.infolist()
        sizes = [each.file_size for each in members]
        xml = [
            each.file_size for each in members if each.filename.lower().endswith((".xml", ".rels"))
        ]
    source.seek(0)
    if len(members) > MAX_MEMBERS or sum(sizes) > MAX_BYTES or max(xml, default=0) > MAX_XML_BYTES:
        raise Refused(
            f"The document unpacks to {sum(sizes)} bytes in {len(members)} parts, which is more than it "
            "may. Send it in parts.",
            "too_large_unpacked",
        )


def _blocks(container: Document | BlockItemContainer, depth: int) -> Iterator[str]:
    for item in container.iter_inner_content():
        if isinstance(item, Table):
            yield from _rows(item, depth + 1)
        else:
            yield item.text


def _rows(table: Table, depth: int) -> Iterator[str]:
    """Cells that were merged are one."""
    if depth > _MAX_DEPTH:
        return
    for row in table.rows:
        cells: dict[object, _Cell] = {cell._tc: cell for cell in row.cells}  # noqa: SLF001
        yield "\t".join(" ".join(_blocks(cell, depth)).strip() for cell in cells.values())
