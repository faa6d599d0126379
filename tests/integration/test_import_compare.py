"""A dry run: every row's action and changes, without a write."""

from sqlalchemy import Engine, text

from app.imports.apply import Policy, Tally
from tests.support.customers import Customer
from tests.support.rows import apply_rows, compare_rows, stored

HEADER = ["Email", "First name", "Phone", "Plan"]


def test_each_row_shows_what_would_become_of_it(engine: Engine, tenant: Customer) -> None:
    old = [["ada@example.com", "Ada", "1", "free"], ["cyd@example.com", "Cyd", "", ""]]
    apply_rows(engine, tenant.id, HEADER, old)
    before = stored(engine, tenant.id)
    rows = [
        ["bob@example.com", "Bob", "", "team"],
        ["ADA@example.com", "Augusta", "", "team"],
        ["cyd@example.com", "Cyd", "", ""],
    ]
    found = compare_rows(engine, tenant.id, HEADER, rows)
    assert found.tally == Tally(inserted=1, updated=1, unchanged=1)
    assert found.rejects == []
    assert [(one.row_number, one.key, one.action) for one in found.changes] == [
        (2, "bob@example.com", "insert"),
        (3, "ada@example.com", "update"),
        (4, "cyd@example.com", "unchanged"),
    ]
    assert found.changes[0].fields == {
        "email": [None, "bob@example.com"],
        "first_name": [None, "Bob"],
        "attributes.Plan": [None, "team"],
    }
    assert found.changes[1].fields == {
        "first_name": ["Ada", "Augusta"],
        "attributes.Plan": ["free", "team"],
    }
    assert found.changes[2].fields == {}
    assert stored(engine, tenant.id) == before


def test_numbers_are_compared_as_numbers(engine: Engine, tenant: Customer) -> None:
    header = ["sku", "price", "stock"]
    apply_rows(engine, tenant.id, header, [["a", "12.50", "3"], ["b", "1", ""]], target="products")
    rows = [["a", "12.5000", "3.0"], ["b", "2.50", "7"]]
    found = compare_rows(engine, tenant.id, header, rows, target="products")
    assert found.tally == Tally(updated=1, unchanged=1)
    assert found.changes[1].fields == {"price": ["1", "2.5"], "stock": [None, "7"]}


def test_what_the_policy_refuses_is_rejected(engine: Engine, tenant: Customer) -> None:
    rows = [["ada@example.com", "Ada", "", ""], ["bob@example.com", "Bob", "", ""]]
    apply_rows(engine, tenant.id, HEADER, rows[:1])
    for policy, row, code in ((Policy.INSERT, 2, "exists"), (Policy.UPDATE, 3, "not_found")):
        found = compare_rows(engine, tenant.id, HEADER, rows, policy=policy)
        assert [(one.row_number, one.code) for one in found.rejects] == [(row, code)]
        assert len(found.changes) == 1


def test_another_tenants_rows_are_not_seen(
    engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    row = ["ada@example.com", "Ada", "", ""]
    apply_rows(engine, stranger.id, HEADER, [row])
    assert compare_rows(engine, tenant.id, HEADER, [row]).tally == Tally(inserted=1)


def test_no_table_is_left_behind(engine: Engine, tenant: Customer) -> None:
    row = ["ada@example.com", "Ada", "", ""]
    apply_rows(engine, tenant.id, HEADER, [row])
    with engine.connect() as tx:
        assert tx.execute(text("SELECT to_regclass('staged_contacts')")).scalar() is None
