"""A preview says how a file would be read and what would become of its first rows, and changes nothing."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from app.api import import_preview
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.problems import TABLES, assert_nothing_left, assert_problem
from tests.support.web import Web

MIB = 1024 * 1024
KEPT = """
    INSERT INTO contacts (id, tenant_id, email, first_name, company, attributes)
    VALUES (gen_random_uuid(), :tenant, 'ada@example.com', 'Ada', 'Analytical', '{"Plan": "a"}'),
           (gen_random_uuid(), :tenant, 'bob@example.com', 'Bob', NULL, '{}')
"""


@pytest.fixture
def known(engine: Engine, tenant: Customer) -> None:
    """Two contacts that are there before."""
    with engine.begin() as tx:
        tx.execute(text(KEPT), {"tenant": tenant.id})


def preview(
    api: httpx.Client,
    body: bytes | Iterator[bytes],
    *,
    mapping: dict[str, str] | None = None,
    **options: Any,
) -> httpx.Response:
    params = {"options": json.dumps(options)}
    if mapping is not None:
        params["mapping"] = json.dumps(mapping)
    headers = {"Content-Type": "text/csv"}
    return api.post("/v1/imports/preview", content=body, params=params, headers=headers)


def seen(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def state(engine: Engine, storage: Storage) -> dict[str, Any]:
    """All that there is."""
    with engine.connect() as tx:
        rows: dict[str, Any] = {
            table: [tuple(row) for row in tx.execute(text(f"SELECT * FROM {table}"))]  # noqa: S608
            for table in (*TABLES, "uploads", "import_mappings")
        }
    return {**rows, "objects": storage.keys(), "open": storage.open_uploads()}


@pytest.mark.usefixtures("known")
def test_each_row_has_what_would_become_of_it(
    api: httpx.Client, engine: Engine, storage: Storage
) -> None:
    body = (
        b"Email,First name,Employer,Plan\n"
        b"new@example.com,Nina,Nine,c\n"
        b"ADA@example.com,Augusta,Analytical,b\n"
        b"bob@example.com,Bob,,\n"
        b"nobody,No,One,\n"
        b"\n"
        b"new@example.com,Again,,\n"
    )
    before = state(engine, storage)
    found = seen(preview(api, body))
    assert state(engine, storage) == before
    rows = {row["row"]: row for row in found["rows"]}
    assert {number: row["action"] for number, row in rows.items()} == {
        2: "insert",
        3: "update",
        4: "unchanged",
        5: "reject",
        7: "reject",
    }
    assert rows[2]["values"]["first_name"] == "Nina"
    assert rows[2]["values"]["attributes"] == {"Plan": "c"}
    assert rows[3]["values"]["email"] == "ada@example.com"
    assert rows[3]["cells"][0] == "ADA@example.com"
    assert rows[3]["changes"] == {"first_name": ["Ada", "Augusta"], "attributes.Plan": ["a", "b"]}
    assert rows[4]["changes"] == {}
    assert (rows[5]["column"], bool(rows[5]["code"])) == ("Email", True)
    assert "Row 2" in rows[7]["message"]
    assert found["counts"] == {
        "total": 5,
        "inserted": 1,
        "updated": 1,
        "unchanged": 1,
        "rejected": 2,
    }
    assert (found["complete"], found["bytes_read"], found["problem"]) == (True, len(body), None)


def test_columns_are_proposed_with_a_reason_and_samples(api: httpx.Client) -> None:
    body = b"Kontakt;Vorname;Notiz\na@example.com;Ada;x\nb@example.com;;y\nc@example.com;Cy;x\n"
    found = seen(preview(api, body))
    first, second, third = found["columns"]
    assert (first["name"], first["field"]) == ("Kontakt", "email")
    assert 0 < first["confidence"] <= 1
    assert first["reason"]
    assert first["samples"] == ["a@example.com", "b@example.com", "c@example.com"]
    assert (second["field"], second["samples"]) == ("first_name", ["Ada", "Cy"])
    assert (third["field"], third["ignored"], third["samples"]) == ("", False, ["x", "y"])
    assert found["layout"]["delimiter"] == ";"
    assert found["target"]["key"] == "email"
    assert "phone" in [field["name"] for field in found["target"]["fields"]]


def test_the_callers_mapping_counts_and_a_remembered_one_after_it(api: httpx.Client) -> None:
    body = b"Who,Where\nAda,a@example.com\n"
    mapping = {"Who": "company"}
    chosen = seen(preview(api, body, mapping=mapping))["columns"][0]
    assert (chosen["field"], chosen["confidence"]) == ("company", 1.0)
    made = api.post(
        "/v1/imports",
        content=body,
        params={"mapping": json.dumps(mapping)},
        headers={"Content-Type": "text/csv"},
    )
    assert made.status_code == 202, made.text
    again = seen(preview(api, body))["columns"][0]
    assert (again["field"], "earlier" in again["reason"]) == ("company", True)
    other = seen(preview(api, body, mapping={"Who": "last_name"}))["columns"][0]
    assert other["field"] == "last_name"


def test_without_a_key_column_the_columns_are_shown_all_the_same(api: httpx.Client) -> None:
    found = seen(preview(api, b"name,phone\nAda,123\n"))
    assert found["problem"]["code"] == "no_email_column"
    assert [column["name"] for column in found["columns"]] == ["name", "phone"]
    assert (found["rows"], found["counts"]["total"]) == ([], 0)


def test_another_target_and_policy(api: httpx.Client) -> None:
    body = b"sku,name,price\nA-1,Anvil,9.90\n"
    found = seen(preview(api, body, target="products"))
    assert (found["target"]["name"], found["rows"][0]["action"]) == ("products", "insert")
    nothing_there = seen(preview(api, body, target="products", policy="update"))
    assert nothing_there["rows"][0]["action"] == "reject"


def lines(count: int) -> bytes:
    return b"email,name\n" + b"".join(
        b"p%d@example.com,%s\n" % (n, b"x" * 40) for n in range(count)
    )


def test_of_a_large_file_a_mebibyte_is_read(
    api: httpx.Client, engine: Engine, storage: Storage
) -> None:
    body = lines(150_000)
    taken = 0

    def blocks() -> Iterator[bytes]:
        nonlocal taken
        for start in range(0, len(body), 65_536):
            taken = start
            yield body[start : start + 65_536]

    found = seen(preview(api, blocks()))
    assert (found["complete"], found["bytes_read"]) == (False, import_preview.HEAD_BYTES)
    assert len(found["rows"]) == 100
    assert found["rows"][-1]["row"] == 101
    assert {row["action"] for row in found["rows"]} == {"insert"}
    in_a_form = api.post("/v1/imports/preview", files={"file": ("large.csv", body)})
    assert seen(in_a_form)["rows"] == found["rows"]
    assert in_a_form.json()["filename"] == "large.csv"
    assert_nothing_left(engine, storage)


def test_a_row_that_is_cut_off_is_not_shown(api: httpx.Client) -> None:
    """As a browser sends the beginning of a file: the last row of what is read may go on."""
    row = b"%d@example.com," + b"y" * 20_000 + b"\n"
    body = b"email,name\n" + b"".join(row % number for number in range(80))
    found = seen(preview(api, body))
    assert found["complete"] is False
    last = found["rows"][-1]["cells"]
    assert found["bytes_read"] < len(body)
    assert len(last[1]) == 20_000


def test_a_packed_file_is_read_whole(api: httpx.Client) -> None:
    found = seen(preview(api, gzip.compress(lines(40_000))))
    assert (found["complete"], found["layout"]["container"]) == (True, "gzip")
    assert len(found["rows"]) == 100


def test_a_packed_file_beyond_bounds_is_refused(
    api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_preview, "WHOLE_BYTES", 1000)
    body = b"PK\x03\x04" + bytes(range(256)) * 10
    assert_problem(preview(api, body), 413, "too_large_to_preview")


@pytest.mark.parametrize(
    ("body", "options", "status", "code"),
    [
        (b"", {}, 422, "empty_file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), {}, 415, "not_a_table"),
        (b"<html><body>no</body></html>", {}, 415, "not_a_table"),
        (b"email\n", {"target": "planets"}, 422, "invalid_options"),
        (b"email\n", {"encoding": "klingon"}, 422, None),
    ],
)
def test_what_cannot_be_read_is_refused_as_an_import_is(
    api: httpx.Client, body: bytes, options: dict[str, Any], status: int, code: str | None
) -> None:
    answer = preview(api, body, **options)
    assert_problem(answer, status, code or answer.json()["type"].rpartition(":")[2])


def test_a_mapping_that_does_not_fit_is_refused(api: httpx.Client) -> None:
    answer = preview(api, b"email\na@example.com\n", mapping={"fax": "phone"})
    assert_problem(answer, 422, "invalid_mapping")


def test_damaged_bytes_and_nuls_can_be_shown(api: httpx.Client) -> None:
    body = lines(50) + b"z@example.com,bad \xff\xfe byte\nq@example.com,nu\x00l\n"
    found = seen(preview(api, body))
    assert len(found["rows"]) == 52


def test_it_is_for_who_has_a_key(web: Web) -> None:
    with web.client(None) as nobody:
        assert_problem(preview(nobody, b"email\n"), 401, "unauthenticated")
