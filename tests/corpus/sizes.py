"""Long lines, wide tables, and what is no table at all."""

import gzip
import json
import zlib
from collections.abc import Iterator

from tests.corpus.case import Case, Table, whole
from tests.corpus.containers import packed
from tests.corpus.dialect import COMMA, SEMICOLON
from tests.corpus.tables import orders, organogram
from tests.corpus.workbook import workbook


def cases() -> Iterator[Case]:
    yield from _sizes()
    yield from _no_tables()


def _sizes() -> Iterator[Case]:
    long = 'A long remark, with commas; and "quotes". ' * 2400
    lines = "First line\nsecond, line\n" * 4000
    for word, text in (("text", long), ("lines", lines), ("word", "x" * 100_000)):
        for row in (0, 10, 19):
            rows = list(orders(20).rows)
            rows[row] = (*rows[row][:2], text, *rows[row][3:])
            table = Table("long", orders(20).header, tuple(rows))
            for dialect in (COMMA, SEMICOLON):
                yield Case(
                    kind="size",
                    name=f"100kB-{word}-{row}-{dialect.delimiter.encode().hex()}",
                    data=dialect.file(table),
                    readings=(whole(table),),
                )
    for columns in (100, 1024):
        header = tuple(f"c{n}" for n in range(columns))
        rows = [tuple(str((n * row) % 97) for n in range(columns)) for row in range(1, 13)]
        table = Table("wide", header, tuple(rows))
        for dialect in (COMMA, SEMICOLON):
            yield Case(
                kind="size",
                name=f"{columns}-columns-{dialect.delimiter.encode().hex()}",
                data=dialect.file(table),
                readings=(whole(table),),
            )
    large = organogram(3000)
    yield Case(kind="size", name="3000-rows", data=COMMA.file(large), readings=(whole(large),))


def _png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    head = (8).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    image = zlib.compress((b"\0" + b"\x10\x80\xff" * 8) * 8)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", image) + chunk(b"IEND", b"")


def _broken_archives() -> dict[str, bytes]:
    """Cut off, spoilt in the middle, or locked."""
    data = COMMA.file(orders(200))
    archive, sheet = packed({"data.csv": data}), workbook({"Sheet1": orders(50).rows})
    locked = bytearray(archive)
    for place in (6, archive.rindex(b"PK\x01\x02") + 8):
        locked[place] |= 1
    return {
        "zip-cut": archive[: len(archive) // 2],
        "zip-spoilt": _spoilt(archive),
        "zip-locked": bytes(locked),
        "gzip-spoilt": _spoilt(gzip.compress(data, mtime=0)),
        "workbook-cut": sheet[: len(sheet) // 2],
        "workbook-spoilt": _spoilt(sheet),
    }


def _spoilt(data: bytes) -> bytes:
    middle = len(data) // 2
    return (
        data[:middle]
        + bytes(byte ^ 0x55 for byte in data[middle : middle + 40])
        + data[middle + 40 :]
    )


def _no_tables() -> Iterator[Case]:
    page = "<!DOCTYPE html>\n<html><head><title>Orders, 2019</title></head>\n<body><p>Not found, sorry.</p></body></html>\n"
    things: dict[str, bytes] = {
        "empty": b"",
        "mark-only": b"\xef\xbb\xbf",
        "blank-lines": b"\n\r\n  \n\n",
        "html": page.encode(),
        "html-late": b"\xef\xbb\xbf\n\n  " + page.replace("<!DOCTYPE html>\n", "").encode(),
        "png": _png(),
        "jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0" + bytes(range(256)) * 4,
        "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n%%EOF\n",
        "executable": b"\x7fELF\x02\x01\x01" + b"\0" * 9 + bytes(range(256)) * 8,
        "windows-executable": b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff" + bytes(range(256)) * 8,
        "json": json.dumps([{"id": n, "name": "x, y"} for n in range(20)], indent=1).encode(),
        "xml": b'<?xml version="1.0"?>\n<rows><row a="1, 2"/><row a="3, 4"/></rows>\n',
        "old-workbook": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 2000,
        "zip-empty": packed({}),
        "zip-of-pictures": packed({"a.png": _png(), "b.png": _png()}),
        "gzip-of-picture": gzip.compress(_png(), mtime=0),
        **_broken_archives(),
        "gzip-cut": gzip.compress(bytes(range(256)) * 400, mtime=0)[:60],
        "nuls": b"\0" * 5000,
        "noise": bytes((n * n * 31 + n * 7 + (n >> 3)) % 256 for n in range(6000)),
        "long-line": b"x," * 1_500_000,
        "million-columns": b",".join(b"c%d" % n for n in range(300_000)) + b"\n",
    }
    for name, data in things.items():
        yield Case(kind="no table", name=name, data=data, readings=())
