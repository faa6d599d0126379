"""An export of a table: exact in every format, of one moment, and nothing left behind however it ends."""

import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from pyarrow import parquet
from python_calamine import CalamineWorkbook
from sqlalchemy import Engine, text

from app.exports import copying, file_format, object_writer
from app.storage import Storage
from tests.support.clock import set_columns
from tests.support.customers import Customer
from tests.support.exports import (
    add_contacts,
    add_many,
    export,
    export_row,
    lines,
    order,
    published,
    run_export,
)
from tests.support.imports import accepted_import, counts, dispatch, import_row, run_imports
from tests.support.runtime import Worker
from tests.support.servers import Servers
from workers.runtime.executor import Disposition

ODD = (
    {"email": "a@example.com", "first_name": "=1+1", "last_name": "O'Brien", "phone": "+442079460000"},
    {"email": "b@example.com", "first_name": 'say "hi", ok', "company": "two\nlines"},
    {"email": "c@example.com", "first_name": "", "company": "\u3000=x", "attributes": {"plan": "'=y"}},
    {"email": "d@example.com", "first_name": "Ζωή", "last_name": "山田", "attributes": {"Größe": "-1+2"}},
    {"email": "=e@example.com", "first_name": "-5", "last_name": "'quoted'", "company": "@sum"},
)  # fmt: skip


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and row groups of a few rows, parts of the least size that stores take."""
    monkeypatch.setattr(file_format, "ROW_GROUP_BYTES", 512 * 1024)
    monkeypatch.setattr(object_writer, "PART_BYTES", 5 * 1024 * 1024)
    monkeypatch.setattr(copying, "BLOCK_BYTES", 256 * 1024)


def test_csv_has_every_row_in_the_order_of_the_key(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, stranger: Customer
) -> None:
    add_contacts(engine, tenant.id, *ODD)
    add_contacts(engine, stranger.id, {"email": "not@ours.example"})
    data = export(worker, engine, storage, tenant)
    header, *rows = lines(data)
    assert header == ["email", "first_name", "last_name", "company", "phone", "Größe", "plan"]
    assert [row[0][:3] for row in rows] == ["'=e", "a@e", "b@e", "c@e", "d@e"]
    by_key = {row[0]: row for row in rows}
    assert by_key["a@example.com"][1:5] == ["'=1+1", "O'Brien", "", "+442079460000"]
    assert by_key["b@example.com"][1:4] == ['say "hi", ok', "", "two\nlines"]
    assert by_key["c@example.com"][3:7] == ["'\u3000=x", "", "", "''=y"]
    assert by_key["d@example.com"][1:6] == ["Ζωή", "山田", "", "", "'-1+2"]
    assert by_key["'=e@example.com"][1:4] == ["-5", "'quoted'", "'@sum"]
    assert data.count(b"\r\n") == len(ODD) + 1
    assert b"\xef\xbb\xbf" not in data


@pytest.mark.parametrize("file_format", ["csv", "xlsx", "parquet"])
def test_a_single_column_keeps_its_nulls(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, file_format: str
) -> None:
    """COPY writes them as empty lines."""
    names = [None, "x", None, "", 'a "\n"\n b']
    rows = [{"email": f"{n}@example.com", "first_name": name} for n, name in enumerate(names)]
    add_contacts(engine, tenant.id, *rows)
    data = export(worker, engine, storage, tenant, format=file_format, columns=["first_name"])
    if file_format == "csv":
        assert data == b'first_name\r\n\r\nx\r\n\r\n""\r\n"a ""\n""\n b"\r\n'
    if file_format == "parquet":
        found = parquet.read_table(io.BytesIO(data)).to_pylist()
        assert [row["first_name"] for row in found] == names
    if file_format == "xlsx":
        sheet = CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_index(0)
        assert [row[0] for row in sheet.to_python()][1:] == [name or "" for name in names]


def test_an_export_imported_again_changes_nothing(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    add_contacts(engine, tenant.id, *ODD)
    data = export(worker, engine, storage, tenant)
    import_id = accepted_import(engine, storage, tenant.id, data)
    run_imports(worker, engine)
    assert counts(import_row(engine, import_id)) == (len(ODD), 0, 0, len(ODD), 0)


def test_products_keep_their_digits_there_and_back(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    rows = "sku,name,price,currency,stock\nA-1,Boots,1299.5,EUR,3\n007,=Hat,0.0001,USD,0\nB,,,,\n"
    for expected in ("inserted", "unchanged"):
        import_id = accepted_import(engine, storage, tenant.id, rows.encode(), target="products")
        run_imports(worker, engine)
        assert import_row(engine, import_id)[expected] == 3
        rows = export(worker, engine, storage, tenant, target="products").decode()
    assert lines(rows.encode())[1:] == [
        ["007", "'=Hat", "0.0001", "USD", "0"],
        ["A-1", "Boots", "1299.5000", "EUR", "3"],
        ["B", "", "", "", ""],
    ]


def test_a_workbook_has_typed_cells_and_no_formula(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, small_sheets: None
) -> None:
    add_contacts(engine, tenant.id, *ODD)
    columns = ["email", "first_name", "created_at", "attributes"]
    data = export(worker, engine, storage, tenant, format="xlsx", columns=columns)
    book = CalamineWorkbook.from_filelike(io.BytesIO(data))
    assert book.sheet_names == ["Export", "Export 2", "Export 3"]
    sheets = [book.get_sheet_by_name(name).to_python() for name in book.sheet_names]
    assert [sheet[0] for sheet in sheets] == [
        ["email", "first_name", "created_at", "Größe", "plan"]
    ] * 3
    rows = {row[0]: row for sheet in sheets for row in sheet[1:]}
    assert len(rows) == len(ODD)
    assert rows["a@example.com"][1] == "=1+1"
    assert isinstance(rows["a@example.com"][2], datetime)
    assert rows["=e@example.com"][1] == "-5"
    assert rows["c@example.com"][4] == "'=y"


@pytest.fixture
def small_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two rows and the header."""
    monkeypatch.setattr(file_format, "SHEET_ROWS", 3)


def test_a_workbook_of_products_has_numbers(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    accepted_import(engine, storage, tenant.id, b"sku,price,stock\nA,12.25,7\n", target="products")
    run_imports(worker, engine)
    data = export(worker, engine, storage, tenant, target="products", format="xlsx")
    (row,) = CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_index(0).to_python()[1:]
    assert row == ["A", "", 12.25, "", 7.0]


def test_parquet_has_types_nulls_and_row_groups(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, small_parts: None
) -> None:
    add_contacts(engine, tenant.id, *ODD)
    add_many(engine, tenant.id, 10_000)
    columns = ["email", "first_name", "attributes", "updated_at", "id"]
    data = export(worker, engine, storage, tenant, format="parquet", columns=columns)
    file = parquet.ParquetFile(io.BytesIO(data))
    assert file.num_row_groups > 1
    assert file.schema_arrow.field("updated_at").type == pa.timestamp("us", tz="UTC")
    rows = {row["email"]: row for row in file.read().to_pylist()}
    assert len(rows) == len(ODD) + 10_000
    assert rows["a@example.com"]["first_name"] == "=1+1"
    assert rows["c@example.com"]["first_name"] == ""
    assert rows["c@example.com"]["attributes"] == '{"plan": "\'=y"}'
    assert abs(rows["user7@example.com"]["updated_at"] - datetime.now(UTC)).total_seconds() < 3600
    assert UUID(rows["user7@example.com"]["id"]).version == 7


def test_parquet_of_products_keeps_decimals(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    accepted_import(
        engine, storage, tenant.id, b"sku,price,stock\nA,0.1,7\nB,,\n", target="products"
    )
    run_imports(worker, engine)
    data = export(worker, engine, storage, tenant, target="products", format="parquet")
    rows = parquet.read_table(io.BytesIO(data)).to_pylist()
    assert [(row["price"], row["stock"]) for row in rows] == [(Decimal("0.1000"), 7), (None, None)]


def test_only_rows_that_are_asked_for(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    add_many(engine, tenant.id, 9)
    with engine.begin() as tx:
        tx.execute(
            text("UPDATE contacts SET created_at = '2026-01-31T23:00:00Z' WHERE email < 'user6'")
        )
    wanted = {
        "created_from": "2026-02-01T00:00:00+01:00",
        "created_before": "2026-02-01T00:00:00Z",
        "attributes": {"plan": "plan-1"},
    }
    data = export(worker, engine, storage, tenant, filter=wanted, columns=["email"])
    assert lines(data) == [["email"], ["user1@example.com"], ["user4@example.com"]]


@pytest.mark.parametrize("file_format", ["csv", "xlsx", "parquet"])
def test_no_rows_make_a_file_too(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, file_format: str
) -> None:
    data = export(worker, engine, storage, tenant, format=file_format)
    if file_format == "csv":
        assert data == b"email,first_name,last_name,company,phone\r\n"
    elif file_format == "parquet":
        assert parquet.read_table(io.BytesIO(data)).num_rows == 0
    else:
        assert (
            len(CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_index(0).to_python())
            == 1
        )


def test_a_large_file_goes_in_parts(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, small_parts: None
) -> None:
    add_many(engine, tenant.id, 20_000, padding=640)
    data = export(worker, engine, storage, tenant)
    assert len(data) > 12 * 1024 * 1024
    assert len(lines(data)) == 20_001
    assert storage.open_uploads() == []


def test_one_moment_is_exported_whatever_happens_meanwhile(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows that come between the count and the copy belong to the next export."""
    from app.exports import making, rows

    add_many(engine, tenant.id, 3)
    select = rows.select_rows

    def and_then_more(*args: Any, **named: Any) -> Any:
        chosen = select(*args, **named)
        add_contacts(engine, tenant.id, {"email": "late@example.com", "attributes": {"late": "1"}})
        return chosen

    monkeypatch.setattr(making, "select_rows", and_then_more)
    assert len(lines(export(worker, engine, storage, tenant))) == 4


def test_what_can_never_be_written_has_failed_and_says_why(
    worker: Worker, engine: Engine, tenant: Customer
) -> None:
    add_contacts(engine, tenant.id, {"email": "a@example.com", "company": "x" * 40_000})
    export_id = order(engine, tenant.id, format="xlsx")
    assert worker.deliver(published(engine)) is Disposition.DEAD_LETTER
    row = export_row(engine, export_id)
    assert (row["status"], row["error"]["code"]) == ("failed", "cell_too_long")
    assert "csv" in row["error"]["message"]


def test_too_many_attributes_for_columns(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    """They still fit into Parquet, in one column."""
    wide = {f"a{number}": "1" for number in range(1200)}
    add_contacts(engine, tenant.id, {"email": "a@example.com", "attributes": wide})
    export_id = order(engine, tenant.id)
    worker.deliver(published(engine))
    assert export_row(engine, export_id)["error"]["code"] == "too_many_columns"
    data = export(worker, engine, storage, tenant, format="parquet")
    assert parquet.read_table(io.BytesIO(data)).num_columns == 6


@pytest.mark.parametrize("few", [0, 3])
def test_attributes_of_late_rows_have_their_columns_too(
    few: int,
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from app.exports import rows

    monkeypatch.setattr(rows, "_FEW_ATTRIBUTES", few)
    monkeypatch.setattr(rows, "_LOOK_ROWS", 1)
    add_contacts(
        engine,
        tenant.id,
        {"email": "a@example.com", "attributes": {"email": "x", "one": "1"}},
        {"email": "b@example.com", "attributes": {"two": 2, "one": None}},
        {"email": "c@example.com", "attributes": {}},
    )
    header, *found = lines(export(worker, engine, storage, tenant))
    assert header[5:] == ["email (2)", "one", "two"]
    assert [row[5:] for row in found] == [["x", "1", ""], ["", "", "2"], ["", "", ""]]


def test_expired_rows_are_forgotten(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    from app.exports.files import useless_keys

    export_id = order(engine, tenant.id)
    run_export(worker, engine)
    key = export_row(engine, export_id)["object_key"]
    other = key.replace("-1.csv", "-2.csv")
    with engine.connect() as tx:
        assert useless_keys(tx, [key, other, "tenants/x/avatar.png"]) == {other}
    set_columns(engine, "exports", export_id, expires_at=datetime(2026, 1, 1, tzinfo=UTC))
    with engine.connect() as tx:
        assert useless_keys(tx, [key]) == {key}


def test_the_tenant_is_told_by_mail_once(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, servers: Servers
) -> None:
    export_id = order(engine, tenant.id)
    run_export(worker, engine)
    ((mail_job, kind),) = dispatch(engine)
    assert kind == "mail.report_ready"
    worker.deliver(mail_job)
    (mail,) = servers.system.mails(recipient=tenant.email)
    assert f"/v1/exports/{export_id}/download" in mail.text
    assert export_row(engine, export_id)["filename"] in mail.text


def test_a_workbook_has_a_limit_of_its_own(
    worker: Worker, engine: Engine, tenant: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.exports import making

    monkeypatch.setattr(making, "XLSX_MAX_ROWS", 2)
    add_many(engine, tenant.id, 3)
    export_id = order(engine, tenant.id, format="xlsx")
    assert worker.deliver(published(engine)) is Disposition.DEAD_LETTER
    error = export_row(engine, export_id)["error"]
    assert error["code"] == "too_many_rows"
    assert "3 rows; as xlsx an export has 2 at most" in error["message"]
