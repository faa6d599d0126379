"""Files as they come: other encodings, dialects and containers are taken, and the import says how they are read."""

import gzip
import io
import zipfile
from pathlib import Path

import httpx
import pytest
import xlsxwriter
from sqlalchemy import Engine, text

from app.storage import Storage
from tests.support.customers import Customer

pytestmark = pytest.mark.long

TEXT = "E-Mail;Vorname\na@example.com;Jürgen\nb@example.com;Zoé\n"
MIB = 1024 * 1024


def archive(*files: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files:
            packed.writestr(name, data)
    return out.getvalue()


def workbook(*rows: tuple[str, ...]) -> bytes:
    out = io.BytesIO()
    with xlsxwriter.Workbook(out) as book:
        sheet = book.add_worksheet("People")
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row)
    return out.getvalue()


PEOPLE = workbook(("E-Mail", "Vorname"), ("a@example.com", "Jürgen"))
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
KINDS: dict[str, tuple[bytes, str, dict[str, object]]] = {
    "UTF-8 with a mark": (TEXT.encode("utf-8-sig"), "text/csv", {"encoding": "utf-8"}),
    "UTF-16": (TEXT.encode("utf-16"), "text/plain", {"encoding": "utf-16-le"}),
    "Windows-1252": (TEXT.encode("cp1252"), "text/csv", {"encoding": "cp1252"}),
    "tabs": (TEXT.replace(";", "\t").encode(), "text/tab-separated-values", {"delimiter": "\t"}),
    "no type": (TEXT.encode(), "application/octet-stream", {"delimiter": ";"}),
    "gzip": (gzip.compress(TEXT.encode()), "application/gzip", {"container": "gzip"}),
    "zip": (
        archive(("people.csv", TEXT.encode())),
        "application/zip",
        {"container": "zip", "member": "people.csv"},
    ),
    "xlsx": (PEOPLE, XLSX, {"kind": "xlsx"}),
    "xlsx, said to be CSV": (PEOPLE, "text/csv", {"kind": "xlsx"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_taken_and_stored_as_it_is(
    kind: str, api: httpx.Client, storage: Storage, tenant: Customer
) -> None:
    body, media_type, layout = KINDS[kind]
    answer = api.post("/v1/imports", content=body, headers={"Content-Type": media_type})
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert {name: made["layout"][name] for name in layout} == layout
    assert made["columns"] == [
        {"name": "E-Mail", "field": "email"},
        {"name": "Vorname", "field": "first_name"},
    ]
    (key,) = storage.keys(f"tenants/{tenant.id}/")
    assert b"".join(storage.stream(key)) == body


def test_a_file_without_a_header_is_taken_with_a_doubt(api: httpx.Client) -> None:
    body = b"a@example.com,Ada,Lovelace\nb@example.com,Bob,Builder\n"
    made = api.post("/v1/imports", content=body, headers={"Content-Type": "text/csv"}).json()
    assert made["layout"]["header_rows"] == []
    assert made["layout"]["doubts"]
    assert made["columns"][0] == {"name": "column 1", "field": "email"}


def test_what_the_caller_says_of_the_file_counts(api: httpx.Client) -> None:
    body = b"export of today\nemail|name\na@example.com|Ada\n"
    options = '{"delimiter": "|", "header_row": 2, "policy": "insert", "all_or_nothing": true}'
    answer = api.post(
        "/v1/imports",
        content=body,
        params={"options": options},
        headers={"Content-Type": "text/csv"},
    )
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert (made["layout"]["delimiter"], made["layout"]["header_rows"]) == ("|", [2])
    assert (made["policy"], made["all_or_nothing"], made["dry_run"]) == ("insert", True, False)
    assert (made["target"], made["retry_of"], made["undo"]) == ("contacts", None, None)


def test_a_mapping_is_remembered_for_the_next_file_with_this_header(
    api: httpx.Client, engine: Engine
) -> None:
    body = b"Who,Where,Notes\nAda,a@example.com,x\n"
    headers = {"Content-Type": "text/csv"}
    mapping = '{"Who": "company", "Where": "email"}'
    first = api.post(
        "/v1/imports", content=body, params={"mapping": mapping}, headers=headers
    ).json()
    second = api.post("/v1/imports", content=body, headers=headers).json()
    assert [column["field"] for column in first["columns"]] == ["company", "email", ""]
    assert second["columns"] == first["columns"]
    with engine.connect() as tx:
        assert tx.execute(text("SELECT count(*) FROM import_mappings")).scalar_one() == 1


class TestLarge:
    """Beyond one part, the file is looked at where it is stored."""

    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return {**environment, "MILLRACE_UPLOAD_PART_BYTES": str(5 * MIB)}

    def test_an_archive_of_several_parts(self, api: httpx.Client, tmp_path: Path) -> None:
        line = "{}@example.com,{}\n"
        rows = "".join(line.format(number, "x" * 40) for number in range(120_000))
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as packed:
            packed.writestr("a.csv", "email,name\n" + rows)
        assert len(out.getvalue()) > 5 * MIB
        answer = api.post(
            "/v1/imports", files={"file": ("a.zip", out.getvalue(), "application/zip")}
        )
        assert answer.status_code == 202, answer.text
        made = answer.json()
        assert (made["layout"]["member"], made["columns"][0]["field"]) == ("a.csv", "email")

    @pytest.mark.parametrize(("end", "encoding"), [(b"plain", "utf-8"), (b"caf\xe9", "cp1252")])
    def test_the_encoding_shows_far_into_the_file(
        self, api: httpx.Client, end: bytes, encoding: str
    ) -> None:
        line = b"someone@example.com," + b"x" * 40 + b"\n"
        body = b"email,name\n" + line * (7 * MIB // len(line)) + b"z@example.com," + end + b"\n"
        answer = api.post("/v1/imports", content=body, headers={"Content-Type": "text/csv"})
        assert answer.status_code == 202, answer.text
        assert answer.json()["layout"]["encoding"] == encoding
