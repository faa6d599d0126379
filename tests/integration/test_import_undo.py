"""Undo: rows return to what they were, unless someone changed them since."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, text

from app.db import autocommit
from app.imports.apply import UndoSink
from app.imports.undo import Kept, Undone
from tests.support.customers import Customer
from tests.support.rows import a_chunk, apply_rows, stored, undo_rows
from tests.support.servers import wait_for

HEADER = ["Email", "First name", "Phone", "Plan"]
ADA = ["ada@example.com", "Ada", "1", "free"]
BOB = ["bob@example.com", "Bob", "2", "team"]
CYD = ["cyd@example.com", "Cyd", "3", ""]


def imported(engine: Engine, tenant: Customer, *rows: list[str]) -> UndoSink:
    chunk = a_chunk(engine, tenant.id)
    apply_rows(engine, tenant.id, HEADER, rows, undo=chunk)
    return chunk


def change(engine: Engine, statement: str, **values: Any) -> None:
    with engine.begin() as tx:
        assert tx.execute(text(statement), values).rowcount == 1


def test_rows_are_removed_and_restored_to_the_letter(engine: Engine, tenant: Customer) -> None:
    apply_rows(engine, tenant.id, HEADER, [ADA, CYD])
    before = stored(engine, tenant.id)
    changed = ["ada@example.com", "Augusta", "", "team"]
    chunk = imported(engine, tenant, changed, BOB, ["cyd@example.com", "", "", ""])
    assert len(stored(engine, tenant.id)) == 3
    assert undo_rows(engine, tenant.id, chunk) == Undone(removed=1, restored=1)
    assert stored(engine, tenant.id) == before


def test_typed_columns_are_restored_too(engine: Engine, tenant: Customer) -> None:
    header = ["sku", "price", "currency", "stock"]
    apply_rows(engine, tenant.id, header, [["a", "12.5001", "", "3"]], target="products")
    before = stored(engine, tenant.id, target="products")
    chunk = a_chunk(engine, tenant.id)
    rows = [["a", "99", "EUR", "0"], ["b", "1", "", ""]]
    apply_rows(engine, tenant.id, header, rows, target="products", undo=chunk)
    done = undo_rows(engine, tenant.id, chunk, target="products")
    assert done == Undone(removed=1, restored=1)
    assert stored(engine, tenant.id, target="products") == before


def test_what_someone_changed_since_is_kept_and_named(engine: Engine, tenant: Customer) -> None:
    apply_rows(engine, tenant.id, HEADER, [ADA])
    chunk = imported(engine, tenant, ["ada@example.com", "Augusta", "", ""], BOB, CYD)
    for name in ("ada", "bob"):
        change(
            engine,
            "UPDATE contacts SET company = 'Elsewhere' WHERE email = :email",
            email=f"{name}@example.com",
        )
    now = stored(engine, tenant.id)
    done = undo_rows(engine, tenant.id, chunk)
    assert (done.removed, done.restored) == (1, 0)
    assert sorted(done.kept) == [
        Kept("ada@example.com", "changed_since"),
        Kept("bob@example.com", "changed_since"),
    ]
    del now["cyd@example.com"]
    assert stored(engine, tenant.id) == now


def test_a_change_that_leaves_updated_at_alone_counts(engine: Engine, tenant: Customer) -> None:
    """The trigger sees to it, for any program."""
    chunk = imported(engine, tenant, BOB)
    change(engine, "UPDATE contacts SET phone = '9', updated_at = updated_at")
    assert undo_rows(engine, tenant.id, chunk).kept == [Kept("bob@example.com", "changed_since")]


def test_what_someone_deleted_since_stays_deleted(engine: Engine, tenant: Customer) -> None:
    apply_rows(engine, tenant.id, HEADER, [ADA])
    chunk = imported(engine, tenant, ["ada@example.com", "Augusta", "", ""], BOB)
    bob = stored(engine, tenant.id)["bob@example.com"]["id"]
    for name in ("ada", "bob"):
        change(engine, "DELETE FROM contacts WHERE email = :e", e=f"{name}@example.com")
    done = undo_rows(engine, tenant.id, chunk)
    assert sorted(done.kept) == sorted(
        [Kept(str(bob), "deleted_since"), Kept("ada@example.com", "deleted_since")]
    )
    assert stored(engine, tenant.id) == {}


def test_a_row_that_was_deleted_and_made_anew_is_someone_elses(
    engine: Engine, tenant: Customer
) -> None:
    chunk = imported(engine, tenant, BOB)
    change(engine, "DELETE FROM contacts")
    apply_rows(engine, tenant.id, HEADER, [BOB])
    now = stored(engine, tenant.id)
    done = undo_rows(engine, tenant.id, chunk)
    assert (done.removed, [one.reason for one in done.kept]) == (0, ["deleted_since"])
    assert stored(engine, tenant.id) == now


def test_a_second_time_nothing_is_taken_back(engine: Engine, tenant: Customer) -> None:
    apply_rows(engine, tenant.id, HEADER, [ADA])
    chunk = imported(engine, tenant, ["ada@example.com", "Augusta", "", ""], BOB)
    undo_rows(engine, tenant.id, chunk)
    now = stored(engine, tenant.id)
    again = undo_rows(engine, tenant.id, chunk)
    assert (again.removed, again.restored) == (0, 0)
    assert stored(engine, tenant.id) == now


def test_a_change_that_is_under_way_is_waited_for(engine: Engine, tenant: Customer) -> None:
    chunk = imported(engine, tenant, ADA, BOB)
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    with ThreadPoolExecutor(1) as pool, engine.connect() as other, autocommit(engine) as watch:
        other.execute(text("UPDATE contacts SET phone = '9' WHERE email = 'ada@example.com'"))
        undone = pool.submit(undo_rows, engine, tenant.id, chunk)
        wait_for(lambda: watch.execute(waiting).scalar(), what="undo's wait for the row")
        other.commit()
        done = undone.result(30)
    assert done == Undone(removed=1, kept=[Kept("ada@example.com", "changed_since")])
    assert stored(engine, tenant.id)["ada@example.com"]["phone"] == "9"


def test_a_later_import_is_a_change_until_it_is_undone_itself(
    engine: Engine, tenant: Customer
) -> None:
    first = imported(engine, tenant, ADA, BOB)
    after_first = stored(engine, tenant.id)
    second = imported(engine, tenant, ["ada@example.com", "Augusta", "", ""])
    assert undo_rows(engine, tenant.id, second) == Undone(restored=1)
    assert stored(engine, tenant.id) == after_first
    assert undo_rows(engine, tenant.id, first) == Undone(removed=2)
    assert stored(engine, tenant.id) == {}


def test_an_earlier_import_leaves_what_a_later_one_changed(
    engine: Engine, tenant: Customer
) -> None:
    first = imported(engine, tenant, ADA, BOB)
    imported(engine, tenant, ["ada@example.com", "Augusta", "", ""])
    done = undo_rows(engine, tenant.id, first)
    assert done == Undone(removed=1, kept=[Kept("ada@example.com", "changed_since")])
    assert list(stored(engine, tenant.id)) == ["ada@example.com"]


def test_another_tenants_rows_are_out_of_reach(
    engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    chunk = imported(engine, tenant, ADA)
    now = stored(engine, tenant.id)
    assert undo_rows(engine, stranger.id, chunk).removed == 0
    assert stored(engine, tenant.id) == now


def test_a_chunk_that_wrote_nothing_has_nothing_to_undo(engine: Engine, tenant: Customer) -> None:
    assert undo_rows(engine, tenant.id, a_chunk(engine, tenant.id)) == Undone()


def test_a_field_that_the_target_has_no_more_is_left_out(engine: Engine, tenant: Customer) -> None:
    """What undo needs may have been kept by an older release."""
    apply_rows(engine, tenant.id, HEADER, [ADA])
    before = stored(engine, tenant.id)
    chunk = imported(engine, tenant, ["ada@example.com", "Augusta", "", ""])
    change(
        engine,
        "UPDATE import_chunks SET before = jsonb_set("
        "jsonb_set(before, '{columns,4}', '\"fax\"'), '{columns,3}', '\"first_name\"')",
    )
    assert undo_rows(engine, tenant.id, chunk).restored == 1
    assert stored(engine, tenant.id) == before


@pytest.mark.parametrize("rows", [2500])
def test_many_rows(engine: Engine, tenant: Customer, rows: int) -> None:
    old = [[f"u{number}@example.com", "Old", "", "x"] for number in range(rows)]
    apply_rows(engine, tenant.id, HEADER, old[: rows // 2])
    before = stored(engine, tenant.id)
    chunk = imported(engine, tenant, *([row[0], "New", "7", "y"] for row in old))
    assert undo_rows(engine, tenant.id, chunk) == Undone(removed=rows // 2, restored=rows // 2)
    assert stored(engine, tenant.id) == before
