"""How a command fails: one line that says what to do, exit status 1, and no traceback.

What isn't expected is a bug: its line names the error's type and not its words, which may hold a password
or a customer's data; `MILLRACE_LOG_LEVEL=DEBUG` shows all of it. What the errors come from is imported when
there is one: a command that goes well shouldn't pay for it.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from app.errors import BrokerAway, MillraceError

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

_OLD_SCHEMA = frozenset({"42P01", "42703", "42883", "42P10"})
"""A table, column, function or unique index that isn't there."""
_NO_RIGHT = "42501"
_NO_URL = "MILLRACE_DATABASE_URL is no URL like postgresql://user:password@host:port/database."
_NONE_FREE = "No connection to the database was free in time. `millrace doctor` says more."


@contextmanager
def in_one_line() -> Iterator[None]:
    """Whatever the block raises becomes a line on standard error and SystemExit(1)."""
    try:
        yield
    except Exception as error:
        if os.environ.get("MILLRACE_LOG_LEVEL", "").upper() == "DEBUG":
            raise
        fail(_line(error))


def fail(line: str) -> None:
    """Say it, and exit with status 1."""
    typer.echo(f"millrace: {line}", err=True)
    sys.exit(1)


def _line(error: Exception) -> str:
    from pydantic import ValidationError
    from pydantic_settings import SettingsError
    from sqlalchemy.exc import SQLAlchemyError

    if isinstance(error, BrokerAway):
        return f"The broker doesn't answer as it should: {error} `millrace doctor` says more."
    if isinstance(error, MillraceError):
        return str(error)
    if isinstance(error, ValidationError) and error.title == "Settings":
        return settings_line(error)
    if isinstance(error, SettingsError):
        return f"Settings can't be read: {error}. See docs/settings.md."
    return _of_database(error) if isinstance(error, SQLAlchemyError) else _of_others(error)


def settings_line(error: "ValidationError") -> str:
    """Which ones, and never their values."""
    wrong = ", ".join(map(_wrong_setting, error.errors(include_input=False)))
    return f"Settings are missing or wrong: {wrong}. See docs/settings.md."


def _wrong_setting(error: "ErrorDetails") -> str:
    """Its name; where several together are wrong, what is wrong with them."""
    place = error["loc"]
    return f"MILLRACE_{str(place[0]).upper()}" if place else error["msg"].rstrip(".")


def _of_database(error: "SQLAlchemyError") -> str:
    from sqlalchemy import exc

    if isinstance(error, exc.ArgumentError):
        return _NO_URL
    if isinstance(error, exc.TimeoutError):
        return _NONE_FREE
    return _of_server(error) if isinstance(error, exc.DBAPIError) else _of_others(error)


def _of_server(error: "DBAPIError") -> str:
    from sqlalchemy.exc import OperationalError

    state = getattr(error.orig, "sqlstate", None)
    said = (str(error.orig).strip().splitlines() or [""])[0]
    if state in _OLD_SCHEMA:
        return f"The database isn't at this version ({said}). Run `millrace migrate`."
    if state == _NO_RIGHT:
        return f"The database role may not do that: {said}."
    if isinstance(error, OperationalError):
        return f"The database doesn't answer: {said}"
    return f"The database refused it: {said}"


def _of_others(error: Exception) -> str:
    name = type(error).__name__
    if type(error).__module__.partition(".")[0] in {"botocore", "boto3"}:
        return f"The object store didn't do it ({name}). `millrace doctor` says more."
    return f"This is a bug: {name}. With MILLRACE_LOG_LEVEL=DEBUG the command shows where; report that."
