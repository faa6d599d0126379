"""PostgreSQL: engines and the connection that listens.

The engine speaks psycopg 3. Nothing here commits: the API's session dependency and the worker
runtime do, see DESIGN's rule that commits happen at the edges.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import Connection, Engine, create_engine

from app.settings import Settings


def sqlalchemy_url(settings: Settings) -> str:
    """The database URL with the driver that we use named in it."""
    url = settings.database_url.get_secret_value()
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def make_engine(
    settings: Settings, *, pool_size: int, max_overflow: int = 0, application_name: str
) -> Engine:
    """An engine of at most `pool_size + max_overflow` connections.

    Raises sqlalchemy.exc.TimeoutError after 10 s without a free connection, so that a starved
    pool shows up as an error and not as a hang.
    """
    return create_engine(
        sqlalchemy_url(settings),
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=10,
        pool_recycle=1800,
        connect_args={"application_name": application_name, "connect_timeout": 5},
    )


def listen(settings: Settings, channel: str, *, application_name: str) -> psycopg.Connection:
    """A connection of its own, in autocommit, that listens on `channel`.

    Raises psycopg.OperationalError when the server is away.
    """
    connection = psycopg.connect(
        settings.database_url.get_secret_value(),
        autocommit=True,
        application_name=application_name,
        connect_timeout=5,
    )
    connection.execute(f"LISTEN {channel}")
    return connection


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One connection, one transaction: commits at the end, rolls back on any exception."""
    with engine.begin() as connection:
        yield connection


def driver_connection(connection: Connection) -> psycopg.Connection:
    """The psycopg connection under a SQLAlchemy one, for COPY. It shares the transaction."""
    raw = connection.connection.driver_connection
    if not isinstance(raw, psycopg.Connection):
        raise TypeError(f"expected a psycopg connection, got {type(raw).__name__}")
    return raw
