"""A transaction's first and last statements travel with its BEGIN and its COMMIT."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DataError, DBAPIError, OperationalError

from app.db import begin_with, commit_with, driver_connection, make_engine, rows_prepared
from app.settings import Settings
from bench.throughput_proxy import counting

FIRST = text("SELECT CAST(:id AS uuid), CAST(:number AS int) + 1, CAST(:word AS text), now()")
LAST = text("INSERT INTO locks (tenant_id, name) VALUES (CAST(:id AS uuid), :word)")
FAILS = text("SELECT 1 / CAST(:number AS int)")
ROWS = text("SELECT name FROM locks WHERE tenant_id = :id ORDER BY name")
PREPARED = text("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'millrace_%'")


@pytest.fixture
def one(settings: Settings) -> Iterator[Engine]:
    """An engine of a single connection."""
    engine = make_engine(settings, pool_size=1, application_name="test")
    yield engine
    engine.dispose()


def begin(tx: Connection, owner: UUID) -> None:
    ((found, number, word, moment),) = begin_with(
        tx, FIRST, {"id": owner, "number": 41, "word": None}
    )
    assert (found, number, word) == (str(owner), "42", None)
    assert moment == str(tx.execute(text("SELECT now()::text")).scalar_one()), "one transaction"


def rows(engine: Engine, owner: UUID) -> list[str]:
    with engine.connect() as tx:
        return list(tx.execute(ROWS, {"id": owner}).scalars())


def test_what_lies_between_them_is_one_transaction(engine: Engine, one: Engine) -> None:
    owner = uuid4()
    for word in ("a", "b"):  # the second time they are prepared
        with one.connect() as tx:
            begin(tx, owner)
            tx.execute(LAST, {"id": owner, "word": f"{word} between"})
            assert f"{word} between" not in rows(engine, owner)
            commit_with(tx, LAST, {"id": owner, "word": word})
            assert not tx.in_transaction()
    assert rows(engine, owner) == ["a", "a between", "b", "b between"]


def test_a_round_trip_each(settings: Settings) -> None:
    url = settings.database_url.get_secret_value()
    port = psycopg.conninfo.conninfo_to_dict(url)["port"]
    with counting(int(str(port))) as (through, counts):
        there = url.replace(f":{port}/", f":{through}/") + "?sslmode=disable&gssencmode=disable"
        given = settings.model_copy(update={"database_url": type(settings.database_url)(there)})
        engine = make_engine(given, pool_size=1, application_name="test")
        with engine.connect() as tx:
            tx.rollback()
            before = counts.round_trips
            begin_with(tx, FIRST, {"id": uuid4(), "number": 1, "word": "x"})
            commit_with(tx, LAST, {"id": uuid4(), "word": "x"})
            assert counts.round_trips - before == 2
        engine.dispose()


def test_a_last_statement_that_fails_commits_nothing(engine: Engine, one: Engine) -> None:
    owner = uuid4()
    with one.connect() as tx:
        begin(tx, owner)
        tx.execute(LAST, {"id": owner, "word": "gone"})
        with pytest.raises(DataError) as raised:
            commit_with(tx, FAILS, {"number": 0})
    assert isinstance(raised.value.orig, psycopg.errors.DivisionByZero)
    assert rows(engine, owner) == []
    with one.connect() as tx:  # what the rollback made the server forget is prepared anew
        begin(tx, owner)
        commit_with(tx, LAST, {"id": owner, "word": "there"})
    assert rows(engine, owner) == ["there"]


def test_after_a_rollback_to_a_savepoint_it_goes_on(engine: Engine, one: Engine) -> None:
    """After which the library has the server forget all that is prepared."""
    owner = uuid4()
    for word in ("a", "b"):
        with one.connect() as tx:
            begin(tx, owner)
            commit_with(tx, LAST, {"id": owner, "word": word})
        with one.begin() as tx:
            driver_connection(tx).execute("SELECT 1", prepare=True)
            with tx.begin_nested() as part:
                part.rollback()
    assert rows(engine, owner) == ["a", "b"]


def test_one_transaction_fails_where_somebody_else_had_the_server_forget(
    engine: Engine, one: Engine
) -> None:
    owner = uuid4()
    with one.connect() as tx:
        begin(tx, owner)
        commit_with(tx, LAST, {"id": owner, "word": "a"})
        driver_connection(tx).execute("DEALLOCATE ALL")
        tx.commit()
    with one.connect() as tx, pytest.raises(DBAPIError):
        begin(tx, owner)
    with one.connect() as tx:
        begin(tx, owner)
        commit_with(tx, LAST, {"id": owner, "word": "b"})
    assert rows(engine, owner) == ["a", "b"]


def test_a_connection_that_was_ended_meanwhile_is_replaced(engine: Engine, one: Engine) -> None:
    """By a server that restarts, or a pooler that is replaced: nobody's call is lost by that."""
    with one.connect() as tx:
        before = driver_connection(tx).info.backend_pid
    with engine.begin() as tx:
        ended = text("SELECT pg_terminate_backend(:pid, 5000)")
        assert tx.execute(ended, {"pid": before}).scalar_one() is True
    with one.connect() as tx:
        assert tx.execute(text("SELECT pg_backend_pid()")).scalar_one() != before


STALE_ROWS = text("SELECT * FROM stale")


def through_sqlalchemy(tx: Connection) -> object:
    return tx.execute(STALE_ROWS).all()


def prepared_by_the_library(tx: Connection) -> object:
    return rows_prepared(tx, STALE_ROWS, {})


def prepared_by_ours(tx: Connection) -> object:
    return begin_with(tx, STALE_ROWS, {})


def migrate(engine: Engine, one: Engine) -> None:
    with engine.begin() as tx:
        tx.execute(text("ALTER TABLE stale ADD COLUMN b int"))


def forget(engine: Engine, one: Engine) -> None:
    with one.begin() as tx:
        driver_connection(tx).execute("DEALLOCATE ALL")


def demote(engine: Engine, one: Engine) -> None:
    with one.connect() as tx:
        driver_connection(tx).execute("SET default_transaction_read_only = on")
        driver_connection(tx).commit()
        with pytest.raises(OperationalError, match="read-only"):
            tx.execute(text("INSERT INTO stale VALUES (1)"))


@pytest.mark.parametrize("ask", [through_sqlalchemy, prepared_by_the_library, prepared_by_ours])
@pytest.mark.parametrize("happens", [migrate, forget, demote])
def test_what_a_connection_will_never_do_again_the_next_one_does(
    engine: Engine,
    one: Engine,
    ask: Callable[[Connection], object],
    happens: Callable[[Engine, Engine], None],
) -> None:
    with engine.begin() as tx:
        tx.execute(text("CREATE TABLE IF NOT EXISTS stale (a int)"))
    for _ in range(10):  # the library prepares what it has seen some times
        with one.begin() as tx:
            ask(tx)
    happens(engine, one)
    with one.connect() as tx, suppress(DBAPIError):
        ask(tx)
    with one.begin() as tx:
        ask(tx)
        tx.execute(text("INSERT INTO stale (a) VALUES (1)"))
    with engine.begin() as tx:
        tx.execute(text("DROP TABLE stale"))


def test_a_transaction_that_has_failed_can_not_be_committed(engine: Engine, one: Engine) -> None:
    """Whatever its handler made of the error."""
    owner = uuid4()
    with one.connect() as tx:
        begin(tx, owner)
        with pytest.raises(DataError):
            tx.execute(FAILS, {"number": 0})
        with pytest.raises(DBAPIError, match="current transaction is aborted"):
            commit_with(tx, LAST, {"id": owner, "word": "gone"})
    assert rows(engine, owner) == []


def kill(engine: Engine, tx: Connection) -> None:
    pid = driver_connection(tx).info.backend_pid
    with engine.connect() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_connection_that_is_lost_is_an_error_and_is_replaced(
    engine: Engine, one: Engine, at_the_end: bool
) -> None:
    owner = uuid4()
    with one.connect() as tx:
        edge: Callable[[], object] = partial(begin, tx, owner)
        if at_the_end:
            edge()
            edge = partial(commit_with, tx, LAST, {"id": owner, "word": "gone"})
        kill(engine, tx)
        with pytest.raises(OperationalError) as raised:
            edge()
    assert raised.value.connection_invalidated
    with one.connect() as tx:
        begin(tx, owner)
        commit_with(tx, LAST, {"id": owner, "word": "there"})
    assert rows(engine, owner) == ["there"]


def test_behind_a_pooler_nothing_is_prepared(one: Engine) -> None:
    owner = uuid4()
    with one.connect() as tx:
        driver_connection(tx).prepare_threshold = None
        begin(tx, owner)
        assert tx.execute(PREPARED).scalar_one() == 0
        commit_with(tx, LAST, {"id": owner, "word": "there"})
    assert rows(one, owner) == ["there"]
