"""PostgreSQL: engines and the connection that listens.

The engine speaks psycopg 3. Nothing here commits: the API's session dependency and the worker
runtime do, see DESIGN's rule that commits happen at the edges.
"""

import select
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import sql
from psycopg.errors import (
    DuplicatePreparedStatement,
    FeatureNotSupported,
    InvalidSqlStatementName,
    ReadOnlySqlTransaction,
)
from psycopg.rows import TupleRow, namedtuple_row
from sqlalchemy import (
    Connection,
    Dialect,
    Engine,
    ExceptionContext,
    Select,
    TextClause,
    create_engine,
    event,
    make_url,
    text,
)
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from app import driver
from app.errors import ReadOnly
from app.settings import Settings
from app.traces import sql as traced

SESSION_SETTINGS = {
    "client_connection_check_interval": "1s",
    "idle_in_transaction_session_timeout": "16min",
}
"""A statement whose process is gone, killed or past its time limit, ends within a second and lets go of its
locks; by itself PostgreSQL notices only when the statement is done. A process that stands still inside a
transaction for longer than any job may take loses it.
"""
CONNECT_SECONDS = 5
_STALE = (InvalidSqlStatementName, DuplicatePreparedStatement, ReadOnlySqlTransaction)
_READ_ONLY, _ON = "SHOW transaction_read_only", "on"
_NOW = text("SELECT clock_timestamp()")
_MADE = "made"
_CHANGED = "cached plan must not change result type"


def sqlalchemy_url(settings: Settings) -> str:
    """The database URL with the driver that we use named in it."""
    url = settings.database_url.get_secret_value()
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def make_engine(
    settings: Settings, *, pool_size: int, max_overflow: int = 0, application_name: str
) -> Engine:
    """An engine of at most `pool_size + max_overflow` connections.

    Behind a pooler it prepares no statements and sets no session options: see docs/pgbouncer.md. Raises
    sqlalchemy.exc.TimeoutError after 10 s without a free connection, so that a starved pool shows up as an
    error and not as a hang.
    """
    url = make_url(sqlalchemy_url(settings))
    session: dict[str, Any] = {"prepare_threshold": None}
    if not settings.pooled:
        ours = [f"-c {name}={value}" for name, value in SESSION_SETTINGS.items()]
        session = {"options": " ".join([str(url.query.get("options", "")), *ours]).strip()}
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=10,
        pool_recycle=1800,
        connect_args={**_link(settings, application_name), **session},
    )
    event.listen(
        engine, "do_connect", _connect if settings.otlp_endpoint is None else _connect_traced
    )
    event.listen(engine, "handle_error", _give_up_stale, retval=True)
    event.listen(engine, "checkout", _leave_hung_up)
    _Ages().watch(engine)
    return engine


class _Ages:
    """When one connection is found to be gone, those that were made before it was are not used any more. SQLAlchemy tells which
    they are by the wall clock: where that is put back meanwhile, it makes another connection for each transaction, for hours.
    """

    def __init__(self) -> None:
        self._gone_at = float("-inf")

    def watch(self, engine: Engine) -> None:
        """After what else says that a connection is gone."""
        event.listen(engine, "connect", self._note)
        event.listen(engine, "handle_error", self._give_up)
        event.listen(engine, "checkout", self._leave_old)

    def _note(self, _connection: object, record: ConnectionPoolEntry) -> None:
        record.info[_MADE] = time.monotonic()

    def _give_up(self, context: ExceptionContext) -> None:
        context.invalidate_pool_on_disconnect = False
        if context.is_disconnect and context.connection is not None:
            self._gone_at = time.monotonic()

    def _leave_old(self, _connection: object, record: ConnectionPoolEntry, _fairy: object) -> None:
        if record.info[_MADE] < self._gone_at:
            raise DisconnectionError


def close(engine: Engine) -> None:
    """Close its connections; what a thread still has out is closed when it comes back, which a pool that was disposed of
    would keep. Who uses the engine after this pays for a connection each time.
    """
    event.listen(engine, "checkin", _close_at_once)
    engine.dispose()


def _close_at_once(_connection: object, record: ConnectionPoolEntry) -> None:
    record.invalidate()


def _leave_hung_up(
    connection: psycopg.Connection[TupleRow], _record: object, _fairy: object
) -> None:
    """The server or the pooler says nothing to a connection that waits in the pool, but that it ends: SQLAlchemy then makes
    another. It costs no round trip. Without it, a PgBouncer that was replaced costs each process a call.
    """
    waiting = select.poll()
    waiting.register(connection.pgconn.socket, select.POLLIN)
    if waiting.poll(0):
        raise DisconnectionError


def _is_stale(error: BaseException | None) -> bool:
    """Whether the connection works and will never again do what it is for: what is prepared on it is gone, or of a schema
    that has been migrated since; or its server isn't the primary any more.
    """
    if isinstance(error, FeatureNotSupported):
        return _CHANGED in str(error)
    return isinstance(error, _STALE)


def _give_up_stale(context: ExceptionContext) -> OperationalError | None:
    """A new connection has none of that; SQLAlchemy makes one in place of each that it calls disconnected. Whoever asked is
    told what it is told of a lost connection: that it may ask again.
    """
    if not _is_stale(context.original_exception):
        return None
    context.is_disconnect = True
    return _lost(str(context.statement), context.original_exception)


def _lost(statement: str, error: BaseException) -> OperationalError:
    return OperationalError(statement, None, error, connection_invalidated=True)


def _connect(
    _dialect: Dialect, _record: object, arguments: list[Any], named: dict[str, Any]
) -> psycopg.Connection[TupleRow]:
    return driver.Connection.connect(*arguments, **named)


def _connect_traced(
    _dialect: Dialect, _record: object, arguments: list[Any], named: dict[str, Any]
) -> psycopg.Connection[TupleRow]:
    return traced.connect(*arguments, **named)


def listen(settings: Settings, channel: str, *, application_name: str) -> psycopg.Connection:
    """A connection of its own, in autocommit and past any pooler, that listens on `channel`.

    Raises psycopg.OperationalError when the server is away.
    """
    connection = direct_connection(settings, application_name=application_name)
    connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
    return connection


def direct_connection(settings: Settings, *, application_name: str) -> psycopg.Connection:
    """One connection in autocommit, past any pooler. Raises psycopg.OperationalError."""
    return psycopg.connect(
        settings.direct_url, autocommit=True, **_link(settings, application_name)
    )


def set_session_options(settings: Settings) -> None:
    """Make SESSION_SETTINGS those of our role in our database: a pooler's sessions are nobody's own."""
    with direct_connection(settings, application_name="millrace-migrate") as connection:
        for name, value in SESSION_SETTINGS.items():
            connection.execute(
                sql.SQL("ALTER ROLE CURRENT_USER IN DATABASE {} SET {} = {}").format(
                    sql.Identifier(connection.info.dbname), sql.Identifier(name), sql.Literal(value)
                )
            )


@asynccontextmanager
async def listening(
    settings: Settings, channel: str, *, application_name: str
) -> AsyncIterator[psycopg.AsyncConnection[TupleRow]]:
    """As `listen`, for an event loop."""
    async with await psycopg.AsyncConnection.connect(
        settings.direct_url, autocommit=True, **_link(settings, application_name)
    ) as connection:
        await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        yield connection


def _link(settings: Settings, application_name: str) -> dict[str, Any]:
    """The libpq parameters of every connection: whose it is, and how the system finds a line that is dead.

    What was sent and isn't acknowledged within `silence_seconds` ends the connection, and so do signs of
    life that are asked for and don't come, whatever a statement waits for.
    """
    seconds = settings.silence_seconds
    return {
        "application_name": application_name,
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": max(1, int(seconds / 2)),
        "keepalives_interval": max(1, int(seconds / 4)),
        "keepalives_count": 2,
        "tcp_user_timeout": int(seconds * 1000),
    }


def probe_connection(settings: Settings) -> psycopg.Connection:
    """One connection in autocommit, through the pooler where there is one. Raises psycopg.OperationalError."""
    url = settings.database_url.get_secret_value()
    link = _link(settings, "millrace-probe")
    return psycopg.connect(url, autocommit=True, prepare_threshold=None, **link)


def reach_once(settings: Settings) -> None:
    """Connect, ask the server whether it takes writes, leave. Raises psycopg.Error, and ReadOnly."""
    with probe_connection(settings) as connection:
        (answer,) = connection.execute(_READ_ONLY).fetchone() or (None,)
        if answer == _ON:
            raise ReadOnly


def reach(engine: Engine) -> None:
    """Ask the server whether it takes writes. Raises SQLAlchemy's errors, and ReadOnly."""
    with engine.connect() as connection:
        insist_on_writes(connection)


def database_time(tx: Connection) -> datetime:
    """Now. What is compared with a time in the database is asked of its clock: a process's own may be off."""
    now: datetime = tx.execute(_NOW).scalar_one()
    return now


def insist_on_writes(connection: Connection) -> None:
    """Raises ReadOnly where the server takes none. Then the connection isn't used again: the address may soon lead to
    another.
    """
    if connection.exec_driver_sql(_READ_ONLY).scalar_one() == _ON:
        connection.invalidate()
        raise ReadOnly


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One connection, one transaction: commits at the end, rolls back on any exception."""
    with engine.begin() as connection:
        yield connection


@contextmanager
def autocommit(engine: Engine) -> Iterator[Connection]:
    """A connection whose statements commit one by one: a round trip each, where a transaction takes three.

    The switch is the driver's; SQLAlchemy's own (`isolation_level`) costs as much as a statement.
    """
    with engine.connect() as connection:
        raw = driver_connection(connection)
        raw.autocommit = True
        try:
            yield connection
        finally:
            if not raw.closed:
                raw.autocommit = False


def execute_prepared(
    tx: Connection, statement: TextClause, parameters: Mapping[str, Any]
) -> psycopg.Cursor[TupleRow]:
    """Run a statement that every job needs: in `tx`, straight on the driver, which prepares it.

    A third of what it costs through SQLAlchemy. Raises what that raises.
    """
    raw = driver_connection(tx)
    if not tx.in_transaction():
        tx.begin()  # sends nothing; without it `tx.commit()` would find nothing to commit
    with _translated(tx, statement):
        return raw.execute(_driver_sql(statement, tx.dialect), parameters)


def rows_prepared(
    tx: Connection, statement: TextClause | Select[Any], parameters: Mapping[str, Any]
) -> list[Any]:
    """As `execute_prepared`; the rows, with their columns as attributes."""
    raw = driver_connection(tx)
    if not tx.in_transaction():
        tx.begin()
    with _translated(tx, statement), raw.cursor(row_factory=namedtuple_row) as cursor:
        return cursor.execute(_driver_sql(statement, tx.dialect), parameters).fetchall()


def begin_with(
    tx: Connection, statement: TextClause, parameters: Mapping[str, Any]
) -> list[driver.Row]:
    """Begin `tx`, unless it has begun, with this statement, in one round trip; its rows. See app.driver for what they
    and parameters are.

    Raises what SQLAlchemy raises.
    """
    raw = _ours(tx)
    if not tx.in_transaction():
        tx.begin()
    with _translated(tx, statement):
        return raw.begin_with(statement.text, parameters)


def commit_with(tx: Connection, statement: TextClause, parameters: Mapping[str, Any]) -> None:
    """Commit `tx` after this statement, in one round trip. Where the statement fails nothing is committed; raises what
    SQLAlchemy raises.
    """
    raw = _ours(tx)
    with _translated(tx, statement):
        raw.commit_with(statement.text, parameters)
    end(tx)  # sends nothing any more


def end(tx: Connection) -> None:
    """Commit, also where `tx` is one whose holder may not."""
    transaction = tx.get_transaction()
    if transaction is not None:
        transaction.commit()


def _ours(tx: Connection) -> driver.Connection:
    raw = driver_connection(tx)
    if not isinstance(raw, driver.Connection):
        raise TypeError(f"not a connection of make_engine's: {type(raw).__name__}")
    return raw


@contextmanager
def _translated(tx: Connection, statement: TextClause | Select[Any]) -> Iterator[None]:
    """The driver's errors as SQLAlchemy's; a connection that broke or is stale is not used again."""
    try:
        yield
    except psycopg.Error as error:
        lost = driver_connection(tx).closed or _is_stale(error)
        if lost:
            tx.invalidate(error)
        if _is_stale(error):
            raise _lost(str(statement), error) from error
        raise DBAPIError.instance(
            str(statement), None, error, psycopg.Error, connection_invalidated=lost
        ) from error


@lru_cache(maxsize=100)
def _driver_sql(statement: TextClause | Select[Any], dialect: Dialect) -> str:
    return str(statement.compile(dialect=dialect))


def driver_connection(connection: Connection) -> psycopg.Connection:
    """The psycopg connection under a SQLAlchemy one, for COPY. It shares the transaction."""
    raw = connection.connection.driver_connection
    if not isinstance(raw, psycopg.Connection):
        raise TypeError(f"expected a psycopg connection, got {type(raw).__name__}")
    return raw
