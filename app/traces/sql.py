"""A connection of psycopg's whose statements are spans: which verbs and tables, never the text nor a parameter."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from typing import Any, Self

import psycopg
from psycopg import Copy
from psycopg.abc import Params
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from app import driver
from app.traces import spans

_NO_TABLE = re.compile(r"'[^']*'|--[^\n]*|\bextract\s*\(\s*\w+\s+from\b", re.IGNORECASE)
_TOUCHED = re.compile(
    r"\b(insert\s+into|delete\s+from|merge\s+into|update|copy|from|join)\s+"
    r"(?:only\s+)?\"?([a-z_][a-z0-9_.]*)\b\"?(\s*\()?",
    re.IGNORECASE,
)
_OWN = re.compile(r"\b(\w+)(?:\s*\([\w\s,]*\))?\s+AS\s+(?:MATERIALIZED\s+)?\(", re.IGNORECASE)
_READS = frozenset({"from", "join"})
_WORDS = frozenset({"set", "of", "skip", "select", "lateral", "nowait", "only", "stdin"})
MAX_NAMED = 4
"""Of the tables that a statement touches, so many are named."""


@lru_cache(maxsize=1000)
def summary(statement: str) -> str:
    """What it does to which tables, such as `UPDATE jobs, DELETE in_flight, INSERT job_history`."""
    plain = _NO_TABLE.sub(" ", statement)
    others = {name.lower() for name in _OWN.findall(plain)} | _WORDS
    found: list[str] = []
    for verb, table, call in _TOUCHED.findall(plain):
        first = verb.split()[0].lower()
        what = f"{'SELECT' if first in _READS else first.upper()} {table.lower()}"
        if table.lower() not in others and not (call and first in _READS) and what not in found:
            found.append(what)
    words = plain.split(None, 1)
    return ", ".join(found[:MAX_NAMED]) or (words[0].upper()[:20] if words else "SQL")


def _span(statement: object) -> Any:
    text = statement.decode() if isinstance(statement, bytes) else statement
    what = summary(text) if isinstance(text, str) else "SQL"
    return spans.start(what, {"db.system.name": "postgresql", "db.query.summary": what})


class TracedCursor(psycopg.Cursor[TupleRow]):
    """See the module. Outside of a recorded span it costs the look for one."""

    def execute(self, query: Any, params: Params | None = None, **how: Any) -> Self:
        """As the library's."""
        span = _span(query) if spans.recording() else None
        try:
            answer = super().execute(query, params, **how)
        except BaseException as error:
            spans.finish(span, error)
            raise
        spans.finish(span)
        return answer

    def executemany(self, query: Any, params_seq: Iterable[Params], **how: Any) -> None:
        """As the library's."""
        span = _span(query) if spans.recording() else None
        try:
            super().executemany(query, params_seq, **how)
        except BaseException as error:
            spans.finish(span, error)
            raise
        spans.finish(span)

    @contextmanager
    def copy(self, statement: Any, params: Params | None = None, **how: Any) -> Iterator[Copy]:
        """As the library's; the span ends with the block."""
        span = _span(statement) if spans.recording() else None
        try:
            with super().copy(statement, params, **how) as copy:
                yield copy
        except BaseException as error:
            spans.finish(span, error)
            raise
        spans.finish(span)


class TracedConnection(driver.Connection):
    """See the module."""

    def begin_with(self, statement: str, parameters: Mapping[str, Any]) -> list[driver.Row]:
        """As ours; a span of the statement's name."""
        with _spanned(summary(statement)):
            return super().begin_with(statement, parameters)

    def commit_with(self, statement: str, parameters: Mapping[str, Any]) -> None:
        """As ours; one span of both names."""
        with _spanned(f"{summary(statement)}, COMMIT"):
            super().commit_with(statement, parameters)

    def commit(self) -> None:
        """As the library's."""
        if self.pgconn.transaction_status == TransactionStatus.IDLE:
            return
        with _spanned("COMMIT"):
            super().commit()


def _spanned(what: str) -> AbstractContextManager[object]:
    return spans.client(what, {"db.system.name": "postgresql", "db.query.summary": what})


def connect(*arguments: Any, **named: Any) -> psycopg.Connection[TupleRow]:
    """As psycopg's."""
    return TracedConnection.connect(*arguments, **named, cursor_factory=TracedCursor)
