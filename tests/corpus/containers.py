"""Tables packed in other files."""

import gzip
import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace

from tests.corpus.case import Case, Reading, Table, whole
from tests.corpus.dialect import COMMA, SEMICOLON, Dialect
from tests.corpus.tables import contacts, decimals, orders, organogram, products, sensors
from tests.corpus.workbook import Value, workbook

KIND = "container"
TRUTHS = (("true", "false"), ("TRUE", "FALSE"), ("True", "False"))
LONG_AGO = (2020, 2, 1, 12, 0, 0)


def cases() -> Iterator[Case]:
    yield from _compressed()
    yield from _workbooks()


def packed(members: Mapping[str, bytes]) -> bytes:
    """A zip file; the same bytes each time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, LONG_AGO), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _case(
    name: str, data: bytes, suffix: str, reading: Reading, *, may_refuse: bool = False
) -> Case:
    return Case(
        kind=KIND,
        name=name,
        data=data,
        suffix=suffix,
        readings=(reading,),
        may_refuse=may_refuse,
    )


def _with_truths(table: Table, true: str, false: str) -> Reading:
    """How a truth is spelled is a matter of taste."""
    spelled = {"true": true, "false": false}
    rows = tuple(tuple(spelled.get(cell, cell) for cell in row) for row in table.rows)
    return Reading(header=table.header, records=rows)


def _compressed() -> Iterator[Case]:
    utf16 = Dialect(encoding="utf-16-le", mark=b"\xff\xfe", delimiter="\t")
    for number, make in enumerate((orders, contacts, organogram, sensors, decimals)):
        table = make(50)
        dialect = (COMMA, SEMICOLON, utf16, replace(COMMA, encoding="cp1252"), SEMICOLON)[number]
        data = dialect.file(table)
        yield _case(f"gzip-{table.name}", gzip.compress(data, mtime=0), ".csv.gz", whole(table))
        yield _case(
            f"gzip-unnamed-{table.name}", gzip.compress(data, mtime=0), ".csv", whole(table)
        )
        zipped = packed({"data.csv": data})
        yield _case(f"zip-{table.name}", zipped, ".zip", whole(table))
    data = COMMA.file(orders(9))
    beside = {"__MACOSX/._data.csv": b"\0\5\x16\7", "folder/data.csv": data}
    yield _case("zip-mac", packed(beside), ".zip", whole(orders(9)))
    read_me = {"README.txt": b"What the columns mean: see below.\n", "data.csv": data}
    yield _case("zip-read-me", packed(read_me), ".zip", whole(orders(9)), may_refuse=True)
    twice = gzip.compress(data[:50], mtime=0) + gzip.compress(data[50:], mtime=0)
    yield _case("gzip-two-parts", twice, ".csv.gz", whole(orders(9)))


def _workbooks() -> Iterator[Case]:
    for make in (orders, contacts, organogram):
        table = make(30)
        data = workbook({"Sheet1": [table.header, *table.rows]})
        yield _case(f"xlsx-{table.name}", data, ".xlsx", whole(table))
    typed: list[tuple[Value, ...]] = [
        ("sku", "price", "stock", "active", "since"),
        ("A-1", 12.5, 3, True, (43831, "date")),
        ("A-2", 0.1, 1_000_000, False, (43831.5, "time")),
        ("007", 19.0, 0, True, (36526, "date")),
    ]
    read = Table(
        "typed",
        ("sku", "price", "stock", "active", "since"),
        (
            ("A-1", "12.5", "3", "true", "2020-01-01"),
            ("A-2", "0.1", "1000000", "false", "2020-01-01 12:00:00"),
            ("007", "19", "0", "true", "2000-01-01"),
        ),
    )
    data = workbook({"Data": typed})
    readings = tuple(_with_truths(read, *words) for words in TRUTHS)
    yield Case(kind=KIND, name="xlsx-typed", data=data, suffix=".xlsx", readings=readings)
    stock = products(12)
    rows = [stock.header, *stock.rows]
    after = workbook({"Empty": [], "Stock": rows})
    yield _case("xlsx-second-sheet", after, ".xlsx", whole(stock))
    titled: list[tuple[Value, ...]] = [("Stock list",), (), *rows, (), ("Source: warehouse",)]
    yield _case("xlsx-titled", workbook({"Stock": titled}), ".xlsx", whole(stock))
    ragged = Table("ragged", ("a", "b", "c"), (("1", "x"), ("2", "y", "z"), ("3",)))
    data = workbook({"Sheet1": [ragged.header, *ragged.rows]})
    yield _case("xlsx-short-rows", data, ".xlsx", whole(ragged))
