"""Of all that goes wrong with a server, what says that it is away: nobody's fault, and over by itself."""

from collections.abc import Iterator

import psycopg
from botocore.exceptions import (
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own, which is no OSError
    HTTPClientError,
    IncompleteReadError,
)
from sqlalchemy.exc import DBAPIError, InterfaceError

from app.errors import StoreAway

_FIRST_FAULT_OF_THE_STORE = 500
_NOT_THE_REQUEST_S_FAULT = frozenset({401, 403, 429})
"""The key is refused, which was changed or has run out; too many requests."""
_DATABASE_AWAY = frozenset({"57P01", "57P02", "57P03", "53300", "25006"})
"""PostgreSQL's words for: it stops, it crashed, it starts, it has no connection left, it is no primary. Other than
those of class 08, a connection that failed.
"""


def is_store_away(error: BaseException) -> bool:
    """Whether the object store couldn't be reached, broke off, takes our key no more, or is at fault itself: here, or in
    what led to this. Not one that hasn't got what it is asked for: no such bucket, no such object.
    """
    return any(_is_of_store(one) for one in _chain(error))


def is_database_away(error: BaseException) -> bool:
    """Whether the connection to the database was lost or couldn't be made, or its server isn't the primary."""
    return any(_is_of_database(one) for one in _chain(error))


def _is_of_store(error: BaseException) -> bool:
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= _FIRST_FAULT_OF_THE_STORE or status in _NOT_THE_REQUEST_S_FAULT
    return isinstance(error, (StoreAway, ConnectionError, HTTPClientError, IncompleteReadError))


def _is_of_database(error: BaseException) -> bool:
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        state = error.sqlstate
        return state is None or state.startswith("08") or state in _DATABASE_AWAY
    return isinstance(error, InterfaceError)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from or while handling, and so on."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__
