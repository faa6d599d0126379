"""An export in parts: every row once whatever the borders, and a part that is done again is done once."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, text

from app.exports import lifecycle, making, parts
from app.exports.order import Order
from app.exports.parts import record_part
from app.exports.rows import Sample, Selection
from app.ids import new_id
from app.storage import Storage
from app.tabular.spreadsheet import unguarded
from tests.support.customers import Customer
from tests.support.exports import (
    add_contacts,
    add_many,
    export_row,
    handed_out,
    lines,
    made,
    order,
    parts_of,
    run_jobs,
)
from tests.support.flows import assert_honest, batch_of
from tests.support.imports import dispatch
from tests.support.jobs import job_facts
from tests.support.runtime import Killed, Worker
from workers.runtime.executor import Disposition

pytestmark = pytest.mark.usefixtures("in_tiny_parts")

ROWS = 3_000


@pytest.fixture
def contacts(engine: Engine, tenant: Customer, stranger: Customer) -> None:
    """Many, among them keys and cells with which borders, quotes and guards could go wrong."""
    add_many(engine, tenant.id, ROWS, padding=64)
    keys = (
        "ζωή",
        "山田",
        "é",
        "e\u0301",
        "\U0001f600",
        "O'Brien",
        "a\\b",
        "%s",
        "user1-",
        "0",
        "~",
        "=x",
    )
    add_contacts(
        engine,
        tenant.id,
        *(
            {
                "email": f"{key}{number}@example.com",
                "first_name": f'say "{key}", ok\n{number}',
                "company": f"={number}",
                "phone": "+44 20 7946 0000",
                "attributes": {"plan": "-1+2", "Größe": number},
            }
            for key in keys
            for number in range(20)
        ),
    )
    add_contacts(engine, stranger.id, {"email": "user5@not-ours.example"})


def keys_in_order(engine: Engine, wanted: dict[str, Any]) -> list[str]:
    """Of the rows with that filter, as the database sorts them: a guarded cell is sorted by what it guards."""
    plan = wanted.get("filter", {}).get("attributes", {}).get("plan", "%")
    with engine.connect() as tx:
        query = "SELECT email FROM contacts WHERE email NOT LIKE '%not-ours%' AND attributes ->> 'plan' LIKE :plan ORDER BY email"
        return list(tx.execute(text(query), {"plan": plan}).scalars())


def test_in_parts_it_is_byte_for_byte_what_one_job_makes(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    contacts: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second time there is a border after every few of the keys that are hard to sort."""
    wants: tuple[dict[str, Any], ...] = (
        {},
        {"columns": ["first_name", "email", "created_at"], "filter": {"attributes": {"plan": "-1+2"}}},
    )  # fmt: skip
    for wanted in wants:
        if wanted:
            monkeypatch.setattr(parts, "WHOLE_BYTES", 0)
            monkeypatch.setattr(parts, "PART_BYTES", 1024)
            monkeypatch.setattr(making, "LEAST_BYTES", 0)
        whole_id = order(engine, tenant.id, one_moment=True, **wanted)
        assert [kind for _, kind in run_jobs(worker, engine)] == ["export.table"]
        whole = made(engine, storage, whole_id)
        export_id = order(engine, tenant.id, **wanted)
        kinds = [kind for _, kind in run_jobs(worker, engine)]
        assert kinds == ["export.table", *["export.part"] * kinds.count("export.part"), "export.finish"]  # fmt: skip
        assert made(engine, storage, export_id) == whole
        at = wanted.get("columns", ["email"]).index("email")
        assert [unguarded(line[at]) for line in lines(whole)[1:]] == keys_in_order(engine, wanted)
        row = export_row(engine, export_id)
        assert len(row["parts"]) == kinds.count("export.part") >= 5
        assert row["rows_done"] == row["rows_total"] == len(lines(whole)) - 1
        assert parts_of(engine, export_id) == []
        assert batch_of(engine, row["batch_id"]).state == "succeeded"
    assert_honest(engine)
    assert storage.open_uploads() == []
    header, *rows = lines(whole)
    assert (header, len(rows)) == (["first_name", "email", "created_at"], 240)


def test_other_tables_are_cut_too_and_a_file_of_one_part_is_not(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    with engine.begin() as tx:
        tx.execute(
            text("""
                INSERT INTO products (id, tenant_id, sku, name, price, stock)
                SELECT uuidv7(), :tenant_id, n::text, repeat('=', 50), n * 0.25, n
                FROM generate_series(1, 4000) AS n
            """),
            {"tenant_id": tenant.id},
        )
    export_id = order(engine, tenant.id, target="products")
    run_jobs(worker, engine)
    rows = lines(made(engine, storage, export_id))[1:]
    assert [row[0] for row in rows] == sorted(str(n) for n in range(1, 4001))
    assert rows[0] == ["1", "'" + "=" * 50, "0.2500", "", "1"]
    assert len(export_row(engine, export_id)["parts"]) > 2
    for wanted in ({"columns": ["sku"]}, {"format": "parquet"}, {"format": "xlsx"}):
        export_id = order(engine, tenant.id, target="products", **wanted)
        assert len(run_jobs(worker, engine)) == 1
        assert export_row(engine, export_id)["parts"] is None


def test_only_what_takes_long_is_cut(
    monkeypatch: pytest.MonkeyPatch, engine: Engine, tenant: Customer
) -> None:
    monkeypatch.undo()  # sizes as they are
    work = lifecycle.Work(
        id=new_id(),
        tenant_id=tenant.id,
        order=Order.model_validate({"target": "contacts", "format": "csv"}),
        key="k",
        left_open=None,
        whole=False,
    )
    keys = [f"{number}@example.com" for number in range(1000)]
    with engine.connect() as db:
        runs = [
            len(parts.cut(db, work, Selection([], rows, Sample(keys, 64.0))))
            for rows in (4 * 1024 * 1024, 4 * 1024 * 1024 + 1)
        ]
    assert runs == [0, 16]


@contextmanager
def killed_before_the_commit(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """The part is in the store, and nobody has said so."""

    def die(*_: object) -> bool:
        raise Killed

    with patch.context() as context:
        context.setattr(parts, "record_part", die)
        with pytest.raises(Killed):
            yield
    assert parts.record_part is record_part


def test_a_part_that_was_put_and_not_committed_is_put_again_and_no_other_is(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    contacts: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put, put_part = [], storage.put_part

    def noted(key: str, upload_id: str, number: int, body: bytes) -> Any:
        put.append(number)
        return put_part(key, upload_id, number, body)

    monkeypatch.setattr(storage, "put_part", noted)
    export_id = handed_out(worker, engine, tenant)
    (first, _), *others = dispatch(engine)
    with killed_before_the_commit(monkeypatch):
        worker.deliver(first)
    assert (parts_of(engine, export_id)[0]["etag"], put) == (None, [1])
    assert export_row(engine, export_id)["rows_done"] == 0
    assert worker.deliver(first, redelivered=True) is Disposition.ACKNOWLEDGE
    done = parts_of(engine, export_id)[0]
    assert export_row(engine, export_id)["rows_done"] == done["rows"] > 0
    for job_id, _ in others:
        worker.deliver(job_id)
    run_jobs(worker, engine)
    row = export_row(engine, export_id)
    assert sorted(put) == [1, *range(1, len(row["parts"]) + 1)]
    assert len({line[0] for line in lines(made(engine, storage, export_id))}) == ROWS + 240 + 1


def test_rows_that_change_before_a_part_is_put_again(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    contacts: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The file is made of what was committed. A store that keeps a part's first version has it made whole."""
    export_id = handed_out(worker, engine, tenant)
    (first, _), *others = dispatch(engine)
    with killed_before_the_commit(monkeypatch):
        worker.deliver(first)
    with engine.begin() as tx:
        change = (
            "UPDATE contacts SET company = 'late', attributes = attributes || '{\"late\": \"1\"}'"
        )
        tx.execute(text(f"{change} WHERE tenant_id = :id"), {"id": tenant.id})
    worker.deliver(first, redelivered=True)
    for job_id, _ in others:
        worker.deliver(job_id)
    run_jobs(worker, engine)
    header, *rows = lines(made(engine, storage, export_id))
    at = header.index("company")
    assert {row[at] for row in rows} == {"late"}
    assert len({row[0] for row in rows}) == len(rows) == ROWS + 240
    assert storage.open_uploads() == []


def test_what_came_after_the_plan_has_no_column_of_its_own(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, contacts: None
) -> None:
    """Rows come and go while the parts are made; all of them have the same columns."""
    export_id = handed_out(worker, engine, tenant)
    late = {"email": "zz@example.com", "attributes": {"plan": "new", "late": "1"}}
    add_contacts(engine, tenant.id, late)
    run_jobs(worker, engine)
    header, *rows = lines(made(engine, storage, export_id))
    assert header == ["email", "first_name", "last_name", "company", "phone", "Größe", "plan"]
    assert {len(row) for row in rows} == {7}
    assert sum(row[0] == "zz@example.com" for row in rows) == 1
    assert export_row(engine, export_id)["rows_total"] == len(rows) == ROWS + 241


@pytest.mark.parametrize(("name", "limit"), [("LEAST_BYTES", 1 << 30), ("MOST_BYTES", 1)])
def test_parts_of_an_impossible_size_are_given_up_for_one_job(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    contacts: None,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    limit: int,
) -> None:
    monkeypatch.setattr(making, name, limit)
    export_id = order(engine, tenant.id)
    ran = run_jobs(worker, engine)
    assert [kind for _, kind in ran[-2:]] == ["export.finish", "export.table"]
    row = export_row(engine, export_id)
    assert (row["parts"], row["whole"], row["job_id"]) == (None, True, ran[-1][0])
    assert len(lines(made(engine, storage, export_id))) == ROWS + 240 + 1
    assert (storage.open_uploads(), parts_of(engine, export_id)) == ([], [])


def test_a_part_of_an_export_that_is_gone_on_has_nothing_to_do(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, contacts: None
) -> None:
    export_id = handed_out(worker, engine, tenant)
    (first, _), *_ = dispatch(engine)
    with engine.begin() as tx:
        tx.execute(text("UPDATE exports SET batch_id = uuidv7()"))
    assert worker.deliver(first) is Disposition.ACKNOWLEDGE
    assert job_facts(engine, first).state == "cancelled"
    assert parts_of(engine, export_id)[0]["etag"] is None
