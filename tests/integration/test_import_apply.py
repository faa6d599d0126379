"""Writing cleaned rows: what each policy does, what is kept for undo, and that nothing else is touched."""

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text, update

from app.imports.apply import Policy, Tally, apply
from app.imports.lifecycle import load_open
from app.imports.targets import TARGETS
from app.models.imports import Import
from tests.support.customers import Customer
from tests.support.rows import a_chunk, apply_rows, cleaned, compare_rows, stored

HEADER = ["Email", "First name", "Phone", "Plan"]
ADA = ["ada@example.com", "Ada", "1", "free"]
BOB = ["bob@example.com", "Bob", "2", "team"]


def test_new_rows_are_inserted_with_ids_that_sort_by_time(engine: Engine, tenant: Customer) -> None:
    done = apply_rows(engine, tenant.id, HEADER, [BOB, ADA])
    assert done.tally == Tally(inserted=2)
    rows = stored(engine, tenant.id)
    assert rows["ada@example.com"]["first_name"] == "Ada"
    assert rows["bob@example.com"]["attributes"] == {"Plan": "team"}
    assert rows["bob@example.com"]["company"] is None
    assert {row["id"].version for row in rows.values()} == {7}


def test_the_same_rows_again_write_nothing(engine: Engine, tenant: Customer) -> None:
    apply_rows(engine, tenant.id, HEADER, [ADA, BOB])
    before = stored(engine, tenant.id)
    assert apply_rows(engine, tenant.id, HEADER, [ADA, BOB]).tally == Tally(unchanged=2)
    assert stored(engine, tenant.id) == before


def test_an_empty_cell_changes_nothing_and_attributes_are_merged(
    engine: Engine, tenant: Customer
) -> None:
    apply_rows(engine, tenant.id, HEADER, [ADA, BOB])
    with engine.begin() as tx:
        tx.execute(text('UPDATE contacts SET attributes = attributes || \'{"Other": "kept"}\''))
    rows = [["ADA@example.com", "", "9", "team"], ["bob@example.com", "", "", ""]]
    assert apply_rows(engine, tenant.id, HEADER, rows).tally == Tally(updated=1, unchanged=1)
    ada = stored(engine, tenant.id)["ada@example.com"]
    assert (ada["first_name"], ada["phone"]) == ("Ada", "9")
    assert ada["attributes"] == {"Plan": "team", "Other": "kept"}
    assert ada["updated_at"] > ada["created_at"]


def test_a_file_with_keys_alone_adds_rows_and_changes_none(
    engine: Engine, tenant: Customer
) -> None:
    apply_rows(engine, tenant.id, HEADER, [ADA])
    before = stored(engine, tenant.id)
    for policy, expected in (
        (Policy.UPDATE, Tally(unchanged=1)),
        (Policy.UPSERT, Tally(inserted=1, unchanged=1)),
        (Policy.UPSERT, Tally(unchanged=2)),
    ):
        done = apply_rows(engine, tenant.id, ["Email"], [[ADA[0]], [BOB[0]]], policy=policy)
        assert done.tally == expected
    assert stored(engine, tenant.id)["ada@example.com"] == before["ada@example.com"]


def test_insert_only_rejects_what_is_there(engine: Engine, tenant: Customer) -> None:
    apply_rows(engine, tenant.id, HEADER, [ADA])
    before = stored(engine, tenant.id)
    rows = [["Ada@Example.com", "Eve", "", ""], BOB]
    done = apply_rows(engine, tenant.id, HEADER, rows, policy=Policy.INSERT)
    assert done.tally == Tally(inserted=1)
    (reject,) = done.rejects
    assert (reject.row_number, reject.column, reject.code) == (2, "Email", "exists")
    assert reject.cells == ["Ada@Example.com", "Eve", "", ""]
    assert "e-mail address" in reject.message
    assert stored(engine, tenant.id)["ada@example.com"] == before["ada@example.com"]


def test_update_only_rejects_what_is_not_there(engine: Engine, tenant: Customer) -> None:
    apply_rows(engine, tenant.id, HEADER, [ADA, ["cyd@example.com", "Cyd", "", ""]])
    rows = [BOB, ["ada@example.com", "Augusta", "", ""], ["cyd@example.com", "Cyd", "", ""]]
    done = apply_rows(engine, tenant.id, HEADER, rows, policy=Policy.UPDATE)
    assert done.tally == Tally(updated=1, unchanged=1)
    (reject,) = done.rejects
    assert (reject.row_number, reject.column, reject.code) == (2, "Email", "not_found")
    found = stored(engine, tenant.id)
    assert found["ada@example.com"]["first_name"] == "Augusta"
    assert "bob@example.com" not in found


@pytest.mark.parametrize("policy", Policy)
def test_another_tenants_rows_are_neither_seen_nor_touched(
    engine: Engine, tenant: Customer, stranger: Customer, policy: Policy
) -> None:
    apply_rows(engine, stranger.id, HEADER, [ADA])
    before = stored(engine, stranger.id)
    done = apply_rows(
        engine, tenant.id, HEADER, [["ada@example.com", "Eve", "", ""]], policy=policy
    )
    assert len(done.rejects) == (policy is Policy.UPDATE)
    assert done.tally.inserted == (policy is not Policy.UPDATE)
    assert stored(engine, stranger.id) == before


def test_products_are_written_with_their_types(engine: Engine, tenant: Customer) -> None:
    header = ["SKU", "Name", "Price", "Currency", "Stock", "Colour"]
    rows = [["a-1", "Ring", "1,234.50", "eur", "12", "red"], ["A-1", "", "(0.5)", "", "-3", ""]]
    assert apply_rows(engine, tenant.id, header, rows, target="products").tally.inserted == 2
    found = stored(engine, tenant.id, target="products")
    ring, other = found["a-1"], found["A-1"]
    assert (str(ring["price"]), ring["currency"], ring["stock"]) == ("1234.5000", "EUR", 12)
    assert (other["name"], str(other["price"]), other["currency"]) == (None, "-0.5000", None)
    again = [["a-1", "Ring", "1234.5", "EUR", "12.0", "blue"], ["A-1", "", "", "", "", ""]]
    assert apply_rows(engine, tenant.id, header, again, target="products").tally.unchanged == 2


ODD = [
    "\\",
    "\\N",
    "\\.",
    "a\tb",
    "a\nb",
    "a\r\nb",
    "\r",
    '"',
    "'",
    "{}",
    "NULL",
    "\x01",
    "\x7f",
    "é😀",
]


@pytest.mark.parametrize("value", ODD)
def test_every_character_arrives(engine: Engine, tenant: Customer, value: str) -> None:
    rows = [["a@example.com", f"x{value}x", "", f"y{value}y"], BOB]
    apply_rows(engine, tenant.id, HEADER, rows)
    found = stored(engine, tenant.id)
    assert found["a@example.com"]["first_name"] == f"x{value}x"
    assert found["a@example.com"]["attributes"] == {"Plan": f"y{value}y"}
    assert found["bob@example.com"]["first_name"] == "Bob"


def test_what_undo_needs_is_kept_with_the_rows(engine: Engine, tenant: Customer) -> None:
    apply_rows(engine, tenant.id, HEADER, [ADA, ["cyd@example.com", "Cyd", "", ""]])
    before = stored(engine, tenant.id)
    chunk = a_chunk(engine, tenant.id)
    rows = [["ada@example.com", "Augusta", "", ""], BOB, ["cyd@example.com", "", "", ""]]
    apply_rows(engine, tenant.id, HEADER, rows, undo=chunk)
    found = stored(engine, tenant.id)
    with engine.connect() as tx:
        query = text("SELECT applied_at, inserted_ids, before FROM import_chunks")
        kept = tx.execute(query).one()
    assert kept.inserted_ids == [found["bob@example.com"]["id"]]
    (image,) = kept.before["rows"]
    ada = dict(zip(kept.before["columns"], image, strict=True))
    was = before["ada@example.com"]
    assert (ada["id"], ada["email"], ada["first_name"]) == (str(was["id"]), was["email"], "Ada")
    assert ada["attributes"] == {"Plan": "free"}
    assert kept.applied_at == found["bob@example.com"]["updated_at"]
    assert kept.applied_at == found["ada@example.com"]["updated_at"]


def test_of_rows_that_are_all_new_undo_needs_their_ids(engine: Engine, tenant: Customer) -> None:
    chunk = a_chunk(engine, tenant.id)
    apply_rows(engine, tenant.id, HEADER, [BOB, ADA], undo=chunk)
    rows = stored(engine, tenant.id).values()
    with engine.connect() as tx:
        kept = tx.execute(text("SELECT applied_at, inserted_ids, before FROM import_chunks")).one()
    assert set(kept.inserted_ids) == {row["id"] for row in rows}
    assert kept.before is None
    assert {kept.applied_at} == {row["updated_at"] for row in rows}


@pytest.mark.parametrize(
    ("policy", "counts", "all_new"),
    [
        ("upsert", {"rejected": 2}, True),
        ("upsert", {"updated": 1}, False),
        ("upsert", {"unchanged": 1}, False),
        ("insert", {}, True),
        ("insert", {"rejected": 1}, False),
    ],
)
def test_rows_are_added_blindly_until_one_was_there(
    engine: Engine,
    tenant: Customer,
    policy: str,
    counts: dict[str, int],
    all_new: bool,
) -> None:
    sink = a_chunk(engine, tenant.id)
    with engine.begin() as tx:
        tx.execute(update(Import).values(policy=policy, inserted=5, **counts))
        source = load_open(tx, sink.import_id)
    assert source is not None
    assert source.all_new is all_new


def test_two_chunks_in_one_transaction(engine: Engine, tenant: Customer) -> None:
    """As an import of all or nothing has them."""
    with engine.begin() as tx:
        for row in (ADA, BOB):
            done = apply(tx, TARGETS["contacts"], tenant.id, cleaned(HEADER, [row]), Policy.UPSERT)
            assert done.tally == Tally(inserted=1)
    assert len(stored(engine, tenant.id)) == 2


def look_up_one_by_one(engine: Engine) -> None:
    """The plan that takes rows in the order of the file, were they not sorted."""
    with engine.begin() as tx:
        for way in ("hashjoin", "mergejoin", "seqscan"):
            tx.execute(
                text(
                    "DO $$ BEGIN EXECUTE format("
                    f"'ALTER DATABASE %I SET enable_{way} = off', current_database()); END $$"
                )
            )
    engine.dispose()


@pytest.mark.parametrize(
    ("policy", "there"),
    [(Policy.UPSERT, True), (Policy.UPDATE, True), (Policy.INSERT, False), (Policy.UPSERT, False)],
)
def test_two_imports_of_the_same_rows_in_opposite_order_take_turns(
    engine: Engine,
    tenant: Customer,
    policy: Policy,
    there: bool,
) -> None:
    """Without an order of their own they would lock each other out."""
    rows = [[f"u{number}@example.com", "", "", ""] for number in range(3000)]
    if there:
        apply_rows(engine, tenant.id, HEADER, rows)
    look_up_one_by_one(engine)
    together = Barrier(2)

    def write(name: str) -> int:
        named = [[row[0], name, "", ""] for row in rows]
        together.wait(30)
        ordered = named if name == "up" else named[::-1]
        tally = apply_rows(engine, tenant.id, HEADER, ordered, policy=policy).tally
        return tally.inserted + tally.updated

    with ThreadPoolExecutor(2) as pool:
        written = list(pool.map(write, ["up", "down"]))
    assert written in ([3000, 3000], [3000, 0], [0, 3000])
    names = {row["first_name"] for row in stored(engine, tenant.id).values()}
    assert len(names) == 1


Rows = dict[str, tuple[str, str, str]]
CELL = st.sampled_from(["", "x", "y"])
ROWS = st.dictionaries(
    st.sampled_from([f"{name}@example.com" for name in "abcd"]), st.tuples(CELL, CELL, CELL)
)


@given(first=ROWS, second=ROWS, policy=st.sampled_from(Policy), perhaps_new=st.booleans())
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_dry_run_says_what_a_run_does(
    engine: Engine,
    tenant: Customer,
    first: Rows,
    second: Rows,
    policy: Policy,
    perhaps_new: bool,
) -> None:
    with engine.begin() as tx:
        tx.execute(text("DELETE FROM contacts"))
    apply_rows(engine, tenant.id, HEADER, [[key, *cells] for key, cells in first.items()])
    before = stored(engine, tenant.id)
    rows = [[key, *cells] for key, cells in second.items()]
    expected = compare_rows(engine, tenant.id, HEADER, rows, policy=policy)
    assert stored(engine, tenant.id) == before
    done = apply_rows(engine, tenant.id, HEADER, rows, policy=policy, perhaps_new=perhaps_new)
    assert (done.tally, done.rejects) == (expected.tally, expected.rejects)
    after = stored(engine, tenant.id)
    for change in expected.changes:
        was, now = before.get(change.key), after[change.key]
        assert (was is None) == (change.action == "insert")
        assert (was == now) == (change.action == "unchanged")
        for name, (old, new) in change.fields.items():
            column, _, attribute = name.partition(".")
            assert now[column].get(attribute) == new if attribute else now[column] == new
            if was is not None:
                assert was[column].get(attribute) == old if attribute else was[column] == old
    assert json.dumps([change.fields for change in expected.changes])
