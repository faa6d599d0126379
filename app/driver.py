"""psycopg's connection, and a transaction's edges in one round trip each: BEGIN with the first statement, COMMIT with
the last.

The library's own pipeline does that too, for more than a round trip costs on a near server; this is the protocol
underneath, and as much of it as a statement with parameters needs.
"""

import re
import select
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Any

import psycopg
from psycopg import pq
from psycopg.abc import PQGen
from psycopg.errors import error_from_result
from psycopg.pq.abc import PGconn, PGresult
from psycopg.rows import TupleRow

Row = Sequence[str | None]
"""Values as PostgreSQL writes them."""
_PARAMETER = re.compile(r"(?<![:\w]):(\w+)")
_GOOD = frozenset({pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK})


@dataclass(frozen=True, slots=True, eq=False)
class _Wire:
    """A statement as it is sent: `$1` for each name, in this order. There is one of each."""

    sql: bytes
    names: Sequence[str] = ()


_BEGIN, _COMMIT = _Wire(b"BEGIN"), _Wire(b"COMMIT")


@lru_cache(maxsize=100)
def _wire(statement: str) -> _Wire:
    names: list[str] = []

    def numbered(found: re.Match[str]) -> str:
        name = found.group(1)
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return _Wire(_PARAMETER.sub(numbered, statement).encode(), names)


def _written(value: Any) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, list):  # of what needs no quotes: ids and numbers
        return f"{{{','.join(map(str, value))}}}".encode()
    return str(value).encode()


class Connection(psycopg.Connection[TupleRow]):
    """See the module. Statements are text with `:name` for parameters, and are prepared unless the connection
    prepares none; parameters are ids, numbers, text, None, or lists of ids or of numbers.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._ours: dict[_Wire, bytes] = {}
        self._names = count()

    def begin_with(self, statement: str, parameters: Mapping[str, Any]) -> list[Row]:
        """Begin a transaction, unless it has begun, and run its first statement; the rows. Raises psycopg.Error: then it
        is for the caller to roll back.
        """
        rested = self.pgconn.transaction_status == pq.TransactionStatus.IDLE
        begin: list[tuple[_Wire, Mapping[str, Any]]] = [(_BEGIN, {})] if rested else []
        return _rows(self._round_trip(*begin, (_wire(statement), parameters))[-1])

    def commit_with(self, statement: str, parameters: Mapping[str, Any]) -> None:
        """Run a transaction's last statement, and commit unless that fails: then it raises psycopg.Error, and it is for
        the caller to roll back.
        """
        self._round_trip((_wire(statement), parameters), (_COMMIT, {}))

    def _deallocate(self, name: bytes | None) -> PQGen[None]:
        """The library has the server forget one of its own, or, after a rollback, also one to a savepoint, all that is
        prepared.
        """
        if name is None:
            self._ours.clear()
        return super()._deallocate(name)

    def _round_trip(self, *commands: tuple[_Wire, Mapping[str, Any]]) -> list[PGresult]:
        """The result of each, if all are good; what follows on one that fails isn't run."""
        pgconn = self.pgconn
        with self.lock:
            pgconn.enter_pipeline_mode()
            try:
                made = self._prepare([wire for wire, _ in commands])
                for wire, parameters in commands:
                    values = [_written(parameters[name]) for name in wire.names]
                    if wire in self._ours:
                        pgconn.send_query_prepared(self._ours[wire], values)
                    else:
                        pgconn.send_query_params(wire.sql, values)
                pgconn.pipeline_sync()
                results = _answers(pgconn)
                pgconn.exit_pipeline_mode()
            except BaseException:
                pgconn.finish()  # nobody knows what it would answer to
                raise
        for result in results:
            if result.status not in _GOOD:
                self._ours = {wire: name for wire, name in self._ours.items() if wire not in made}
                raise error_from_result(result)
        return results[len(made) :]

    def _prepare(self, wires: Sequence[_Wire]) -> set[_Wire]:
        """Those that weren't prepared yet. A name is used once: what is forgotten here may be known there."""
        made = set(wires) - set(self._ours) if self.prepare_threshold is not None else set()
        for wire in made:
            self._ours[wire] = b"millrace_%d" % next(self._names)
            self.pgconn.send_prepare(self._ours[wire], wire.sql)
        return made


def _answers(pgconn: PGconn) -> list[PGresult]:
    """All, up to the end of the pipeline. Waiting lets other threads run."""
    wait = select.poll()
    while pgconn.flush():
        wait.register(pgconn.socket, select.POLLOUT)
        wait.poll()
    wait.register(pgconn.socket, select.POLLIN)
    results: list[PGresult] = []
    while True:
        while pgconn.is_busy():
            wait.poll()
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            if pgconn.status != pq.ConnStatus.OK:
                raise psycopg.OperationalError("the connection is lost")
        elif result.status == pq.ExecStatus.PIPELINE_SYNC:
            return results
        else:
            results.append(result)


def _rows(result: PGresult) -> list[Row]:
    return [
        [
            None if (value := result.get_value(row, column)) is None else value.decode()
            for column in range(result.nfields)
        ]
        for row in range(result.ntuples)
    ]
