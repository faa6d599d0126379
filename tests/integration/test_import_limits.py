"""A tenant's limits, and what it chose for a header before."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from app.errors import TooLarge, TooManyRequests
from app.imports.limits import check_open, limits_of, set_limits
from app.settings import Settings
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.imports import accepted_import, csv_bytes, import_row, run_imports
from tests.support.runtime import Worker

FILE = csv_bytes(["Email", "Nick"], ["ada@example.com", "Ada"])


def limit(engine: Engine, tenant: Customer, **limits: int) -> None:
    none = {"max_bytes": None, "max_rows": None, "max_open": None}
    with engine.begin() as tx:
        set_limits(tx, tenant.id, **{**none, **limits})


def test_the_settings_hold_where_a_tenant_has_none_of_its_own(
    engine: Engine, settings: Settings, tenant: Customer, stranger: Customer
) -> None:
    limit(engine, tenant, max_bytes=10, max_rows=20, max_open=30)
    with engine.connect() as tx:
        own = limits_of(tx, tenant.id, settings)
        others = limits_of(tx, stranger.id, settings)
    assert (own.max_bytes, own.max_rows, own.max_open) == (10, 20, 30)
    assert others.max_bytes == settings.upload_max_bytes
    assert others.max_rows == settings.import_max_rows
    assert others.max_open == settings.import_max_open
    own.check_size(10)
    with pytest.raises(TooLarge):
        own.check_size(11)


def test_no_tenant_may_send_more_than_anybody_may(
    engine: Engine, settings: Settings, tenant: Customer
) -> None:
    limit(engine, tenant, max_bytes=2 * settings.upload_max_bytes)
    with engine.connect() as tx:
        assert limits_of(tx, tenant.id, settings).max_bytes == settings.upload_max_bytes


def test_only_so_many_imports_are_open_at_once(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    settings: Settings,
    tenant: Customer,
    stranger: Customer,
) -> None:
    limit(engine, tenant, max_open=1)
    accepted_import(engine, storage, stranger.id, FILE)
    with engine.begin() as tx:
        check_open(tx, tenant.id, settings)
    accepted_import(engine, storage, tenant.id, FILE)
    with engine.begin() as tx, pytest.raises(TooManyRequests) as error:
        check_open(tx, tenant.id, settings)
    assert (error.value.status, error.value.code) == (429, "too_many_imports")
    assert error.value.retry_after > 0
    run_imports(worker, engine)
    with engine.begin() as tx:
        check_open(tx, tenant.id, settings)


def test_of_two_requests_at_once_for_the_last_place_one_gets_it(
    engine: Engine, storage: Storage, settings: Settings, tenant: Customer
) -> None:
    limit(engine, tenant, max_open=1)
    checked = threading.Event()

    def late() -> bool:
        checked.wait(10)
        with engine.begin() as tx:
            try:
                check_open(tx, tenant.id, settings)
            except TooManyRequests:
                return False
        return True

    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(late)
        with engine.begin() as tx:
            check_open(tx, tenant.id, settings)
            checked.set()
            with pytest.raises(TimeoutError):
                second.result(0.5)
            accepted_import(engine, storage, tenant.id, FILE)
        assert second.result(10) is False


class TestRememberedMapping:
    def test_a_mapping_is_used_for_the_next_file_with_the_header(
        self, engine: Engine, storage: Storage, tenant: Customer, stranger: Customer
    ) -> None:
        first = accepted_import(engine, storage, tenant.id, FILE, mapping={"Nick": "first_name"})
        assert import_row(engine, first)["fields"] == ["email", "first_name"]
        other = csv_bytes(["Email", "Nick"], ["bob@example.com", "Bob"])
        again = accepted_import(engine, storage, tenant.id, other)
        assert import_row(engine, again)["fields"] == ["email", "first_name"]
        theirs = accepted_import(engine, storage, stranger.id, other)
        assert import_row(engine, theirs)["fields"] == ["email", ""]

    def test_the_last_choice_counts(
        self, engine: Engine, storage: Storage, tenant: Customer
    ) -> None:
        for field in ("first_name", "company", ""):
            accepted_import(engine, storage, tenant.id, FILE, mapping={"Nick": field})
            again = accepted_import(engine, storage, tenant.id, FILE)
            assert import_row(engine, again)["fields"] == ["email", field]
