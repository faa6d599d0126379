"""Rejected rows are imported again, as they were or corrected, and no other row is touched."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.errors import Conflict, NotFound, Unprocessable
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.imports import (
    accepted_import,
    contacts,
    counts,
    csv_bytes,
    import_row,
    rejected_text,
    rejects,
    retried_import,
    run_imports,
    small_batches,
)
from tests.support.runtime import Worker

HEADER = ["Contact", "First name", "Note"]
GOOD = [[f"good{number}@example.com", f"Good {number}", "x"] for number in range(12)]
BAD = [
    ["nobody", "Nobody", "=1+1"],
    ["short@example.com", "Short"],
    ["GOOD3@example.com", "Twice", "late"],
    ["torn@", "Torn", "-x"],
]
ROWS = [*GOOD[:6], BAD[0], BAD[1], *GOOD[6:], BAD[2], BAD[3]]
NUMBERS = {8: "Contact", 9: "", 16: "Contact", 17: "Contact"}


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "MILLRACE_IMPORT_CHUNK_BYTES": "100"}


class First:
    """An import of ROWS, of which four were rejected."""

    def __init__(self, worker: Worker, engine: Engine, storage: Storage, tenant: Customer) -> None:
        self.worker, self.engine, self.storage, self.tenant = worker, engine, storage, tenant
        self.id = accepted_import(
            engine,
            storage,
            tenant.id,
            csv_bytes(HEADER, *ROWS),
            mapping={"Contact": "email"},
        )
        run_imports(worker, engine)
        assert self.row(self.id)["chunks_total"] > 2
        assert self.columns(self.id) == NUMBERS
        self.mark()

    def mark(self) -> None:
        """From here on every change of a contact shows in `touched`."""
        with self.engine.begin() as tx:
            tx.execute(text("CREATE TABLE before AS SELECT c.*, c.xmin AS x FROM contacts c"))

    def touched(self) -> set[str]:
        query = text("""
            SELECT email FROM contacts c
            WHERE NOT EXISTS (SELECT FROM before b WHERE b.id = c.id AND b.x = c.xmin)
        """)
        with self.engine.connect() as tx:
            return set(tx.execute(query).scalars())

    def retry(self, corrected: bytes | None = None, of: UUID | None = None, **options: Any) -> UUID:
        import_id = retried_import(
            self.engine, self.storage, self.tenant.id, of or self.id, corrected, **options
        )
        run_imports(self.worker, self.engine)
        return import_id

    def row(self, import_id: UUID) -> dict[str, Any]:
        return import_row(self.engine, import_id)

    def columns(self, import_id: UUID) -> dict[int, str]:
        found = rejects(self.engine, self.storage, self.tenant.id, import_id)
        return {number: column for number, (column, _) in found.items()}

    def text(self, import_id: UUID | None = None) -> str:
        return rejected_text(self.engine, self.storage, self.tenant.id, import_id or self.id)


@pytest.fixture
def first(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> First:
    small_batches(monkeypatch, 120)
    return First(worker, engine, storage, tenant)


def test_as_they_were_under_the_same_rules_they_are_rejected_again(first: First) -> None:
    again = first.retry()
    row = first.row(again)
    assert (row["status"], counts(row)) == ("succeeded", (4, 0, 0, 0, 4))
    assert (row["source"], row["retry_of"]) == ("retry", first.id)
    assert first.text(again) == first.text()
    assert first.touched() == set()


def test_after_a_rule_changed_only_what_it_lets_through_is_imported(first: First) -> None:
    again = first.retry(short_rows="pad")
    assert counts(first.row(again)) == (4, 1, 0, 0, 3)
    assert first.columns(again) == {n: NUMBERS[n] for n in (8, 16, 17)}
    assert first.touched() == {"short@example.com"}
    third = first.retry(of=again)
    assert counts(first.row(third)) == (3, 0, 0, 0, 3)
    assert first.text(third) == first.text(again)


def test_a_corrected_file_touches_only_the_rows_that_were_rejected(first: First) -> None:
    corrected = first.text().replace("nobody", "somebody@example.com")
    corrected = corrected.replace("GOOD3@example.com", "other3@example.com")
    corrected += "good5@example.com,Changed,y,7,,\r\nlate@example.com,Late,y,99,,\r\n"
    again = first.retry(corrected.encode())
    row = first.row(again)
    assert (row["status"], row["source"], row["retry_of"]) == ("succeeded", "upload", first.id)
    assert first.touched() == {
        "somebody@example.com",
        "other3@example.com",
        "short@example.com",  # it has as many cells as the header in this file
    }
    assert counts(row) == (6, 3, 0, 0, 3)
    found = rejects(first.engine, first.storage, first.tenant.id, again)
    assert set(found) == {7, 17, 99}
    assert "was not rejected before" in found[7][1]
    people = contacts(first.engine, first.tenant.id)
    assert people["somebody@example.com"]["attributes"] == {"Note": "=1+1"}
    assert people["good5@example.com"]["first_name"] == "Good 5"


def test_a_duplicate_that_was_left_as_it_was_changes_nothing(first: First) -> None:
    again = first.retry(first.text().replace("torn@", "torn@example.com").encode())
    assert first.touched() == {"torn@example.com", "short@example.com"}
    assert first.columns(again) == {8: "Contact", 16: "Contact"}


def test_a_corrected_file_in_another_order_and_layout(first: First) -> None:
    lines = [
        ["_row", "Note", "First name", "Contact"],
        ["17", "n", "T", "torn@example.com"],
        ["8", "n", "S", "somebody@example.com"],
    ]
    data = "".join(";".join(line) + "\n" for line in lines).encode("utf-16")
    again = first.retry(data)
    assert counts(first.row(again)) == (2, 2, 0, 0, 0)
    assert first.touched() == {"torn@example.com", "somebody@example.com"}


def test_duplicates_among_the_corrected_rows_name_the_first_files_numbers(first: First) -> None:
    corrected = (
        first.text().replace("nobody", "new@example.com").replace("torn@", "new@example.com")
    )
    again = first.retry(corrected.encode())
    found = rejects(first.engine, first.storage, first.tenant.id, again)
    assert "Row 8 has the same" in found[17][1]


class TestRefused:
    def test_a_file_without_row_numbers(self, first: First) -> None:
        with pytest.raises(Unprocessable) as error:
            first.retry(csv_bytes(HEADER, BAD[0]))
        assert error.value.code == "no_row_column"

    def test_an_import_without_rejected_rows(self, first: First) -> None:
        data = csv_bytes(["Email"], ["x@example.com"])
        clean = accepted_import(first.engine, first.storage, first.tenant.id, data)
        with pytest.raises(Conflict, match="not ended"):
            first.retry(of=clean)
        run_imports(first.worker, first.engine)
        with pytest.raises(Conflict, match="rejected no row"):
            first.retry(of=clean)

    def test_all_rows_or_none(self, first: First) -> None:
        data = csv_bytes(["Email", "Note"], ["x@example.com", ""], ["x", ""])
        none = accepted_import(
            first.engine, first.storage, first.tenant.id, data, all_or_nothing=True
        )
        run_imports(first.worker, first.engine)
        with pytest.raises(Conflict, match="imported nothing"):
            first.retry(of=none)

    def test_another_tenants(self, first: First, stranger: Customer) -> None:
        with pytest.raises(NotFound):
            retried_import(first.engine, first.storage, stranger.id, first.id)

    def test_another_target(self, first: First) -> None:
        with pytest.raises(Unprocessable):
            first.retry(target="products")
