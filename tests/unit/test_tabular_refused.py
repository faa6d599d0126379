"""What is no table gets a verdict: soon, in little memory, and with a word on what to do."""

import gzip
import io
import json
import zipfile

import pytest
import xlsxwriter

from app.errors import InvalidRequest
from app.tabular.detect import refuse_early
from tests.support.tables import read

CSV = b"email,n\na@x.com,1\nb@x.com,2\n"
LONG_ROW = b"1," + b"2" * 97 + b"\n"
BOMB = b"a,b\n" + LONG_ROW * 180_000
"""18 MB; packed, less than a two-hundredth of that."""


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("_csv", ".csv"), data)
    return out.getvalue()


REFUSED = {
    "nothing": (b"", "empty_file"),
    "blank lines": (b"\n\r\n  \n", "empty_file"),
    "only a mark": (b"\xef\xbb\xbf", "empty_file"),
    "only delimiters": (b",,,\n,,,\n", "empty_file"),
    "html": (b"\xef\xbb\xbf\n <!DOCTYPE html><html><body>", "not_a_table"),
    "xml": (b'<?xml version="1.0"?><a/>', "not_a_table"),
    "json": (json.dumps({"a": 1}).encode(), "not_a_table"),
    "json list": (json.dumps([{"a": 1}]).encode(), "not_a_table"),
    "pdf": (b"%PDF-1.4\n%...", "not_a_table"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(99), "not_a_table"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(99), "not_a_table"),
    "program": (b"\x7fELF" + bytes(99), "not_a_table"),
    "noise": (bytes(number * number * 7 % 251 for number in range(5000)), "not_a_table"),
    "cut gzip": (gzip.compress(CSV * 999)[:-30], "damaged_archive"),
    "no gzip": (b"\x1f\x8b\x08" + b"x" * 50, "damaged_archive"),
    "no zip": (b"PK\x03\x04" + b"x" * 500, "damaged_archive"),
    "no workbook": (b"\xd0\xcf\x11\xe0" + bytes(5000), "damaged_archive"),
    "empty zip": (zipped(), "empty_file"),
    "two in a zip": (zipped(a_csv=CSV, b_csv=CSV), "several_members"),
    "page in a zip": (zipped(a_csv=b"<html>"), "not_a_table"),
    "one line": (b"a" * 3_000_000, "line_too_long"),
    "a million columns": (b"a," * 1_000_000, "line_too_long"),
    "many columns": (b",".join(b"c%d" % number for number in range(5000)) + b"\n", "too_many_columns"),
    "bomb": (gzip.compress(BOMB, 6), "unpacks_too_large"),
    "zip bomb": (zipped(a_csv=BOMB), "unpacks_too_large"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    data, code = REFUSED[name]
    with pytest.raises(InvalidRequest) as caught:
        read(data)
    assert caught.value.code == code
    assert str(caught.value).endswith((".", "'"))


@pytest.mark.parametrize("name", ["nothing", "html", "json", "pdf", "png", "program", "empty zip"])
def test_some_are_refused_by_their_first_bytes(name: str) -> None:
    data, code = REFUSED[name]
    with pytest.raises(InvalidRequest) as caught:
        refuse_early(data[:4096])
    assert caught.value.code == code


@pytest.mark.parametrize(
    "data",
    [CSV, CSV.decode().encode("utf-16"), gzip.compress(CSV), zipped(a_csv=CSV), b"BZh,ID3\n1,2\n"],
    ids=["plain", "utf-16", "gzip", "zip", "looks like an archive"],
)
def test_tables_are_not_refused_early(data: bytes) -> None:
    refuse_early(data)


def test_a_line_too_long_far_down_ends_the_reading() -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(b"a,b\n" + LONG_ROW * 20_000 + b"x" * 3_000_000)
    assert caught.value.code == "line_too_long"


def test_packed_tables() -> None:
    rows = [["a@x.com", "1"], ["b@x.com", "2"]]
    assert read(gzip.compress(CSV)).rows == rows
    assert read(gzip.compress(CSV[:9]) + gzip.compress(CSV[9:])).rows == rows
    assert read(gzip.compress(CSV.decode().encode("utf-16"))).rows == rows
    assert read(zipped(a_csv=CSV)).rows == rows
    assert read(zipped(a_csv=CSV, readme=b"x", **{"__MACOSX/._a_csv": b"x"})).rows == rows
    found = read(zipped(a_csv=b"x,y\n1,2\n", b_csv=CSV), member="b.csv")
    assert (found.rows, found.layout.member, found.layout.rangeable) == (rows, "b.csv", False)


def test_a_workbook() -> None:
    out = io.BytesIO()
    with xlsxwriter.Workbook(out) as book:
        book.add_worksheet("empty")
        sheet = book.add_worksheet("data")
        day = book.add_format({"num_format": "yyyy-mm-dd"})
        sheet.write_row(1, 0, ["Report"])
        sheet.write_row(3, 0, ["name", "n", "price", "day", "ok"])
        for row in (4, 5, 6):
            sheet.write_row(row, 0, ["Ann", row, 1.5])
            sheet.write_number(row, 3, 43000 + row, day)
            sheet.write_boolean(row, 4, row % 2 == 0)
        sheet.write_row(8, 0, ["Source: us"])
        book.add_worksheet("other").write(0, 0, "x")
    found = read(out.getvalue())
    assert found.columns == ["name", "n", "price", "day", "ok"]
    assert found.rows[:2] == [["Ann", "4", "1.5", "2017-09-26", "TRUE"], ["Ann", "5", "1.5", "2017-09-27", "FALSE"]]  # fmt: skip
    assert len(found.rows) == 3
    assert (found.layout.kind, found.layout.sheet, found.layout.first_row) == ("xlsx", "data", 5)
    assert found.doubts == {"several_sheets", "preamble", "footer"}
    assert read(zipped(**{"book.xlsx": out.getvalue()})).rows == found.rows
    assert read(out.getvalue(), sheet="other").columns == ["x"]
    with pytest.raises(InvalidRequest) as caught:
        read(out.getvalue(), sheet="none")
    assert caught.value.code == "no_such_sheet"
