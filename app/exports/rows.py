"""The rows of an export, as PostgreSQL's COPY writes them: one statement, one snapshot, in the order of the key.

PostgreSQL does the work: it quotes, guards cells against being taken for formulas, and takes attributes
apart. What comes here is blocks of rows, and is passed on as it is.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from psycopg import sql
from sqlalchemy import Connection, text

from app.db import driver_connection
from app.errors import Unprocessable
from app.exports.copying import copy_blocks
from app.exports.order import Order, RowFilter
from app.exports.tables import Kind, Source, Table
from app.tabular.spreadsheet import guarded_sql

MAX_COLUMNS = 1000
"""More than that no spreadsheet shows; and PostgreSQL's limit is 1,664."""
_LOOK_ROWS = 1000
_MOMENT = sql.SQL("""to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""")

_SNAPSHOT = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the file: `attribute` is the attribute that it shows, `source` what it is read from."""

    name: str
    source: Source
    attribute: str | None = None

    @property
    def kind(self) -> Kind:
        """An attribute by itself is text."""
        return self.source.kind if self.attribute is None else Kind.TEXT


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows and columns that an order comes to, in the snapshot of `tx`."""

    columns: Sequence[Column]
    rows: int


def take_snapshot(tx: Connection) -> None:
    """From here on `tx` sees one moment. To be called before anything else in it."""
    tx.execute(_SNAPSHOT)


def select_rows(tx: Connection, order: Order, tenant_id: object, *, spread: bool) -> Selection:
    """Count the rows; with `spread` find every attribute that one of them has, each to be a column of its own.

    Raises Unprocessable (`too_many_columns`) where these are more than a file should have.
    """
    table = order.table
    where = _where(table, order.filter, tenant_id)
    names = order.columns or [source.name for source in table.sources if source.own]
    if not (spread and table.attributes in names):
        counted = _one(tx, sql.SQL("SELECT count(*) FROM {} WHERE {}"), table, where)
        return Selection([Column(name, table.by_name[name]) for name in names], counted[0])
    rows, attributes = _attributes(tx, table, where)
    columns = _spread(table, names, attributes)
    if len(columns) > MAX_COLUMNS:
        raise Unprocessable(
            f"The rows have {len(attributes)} different attributes; a file has {MAX_COLUMNS} columns at "
            "most. Name the columns without 'attributes', or ask for 'parquet', which keeps them in one.",
            code="too_many_columns",
        )
    return Selection(columns, rows)


def copy_rows(
    tx: Connection, order: Order, tenant_id: object, columns: Sequence[Column], *, guard: bool
) -> Generator[bytes]:
    """The rows as CSV, in blocks of whole ones, each with a line feed at its end. NULL is nothing, the empty
    text `""`.

    With `guard`, cells are safe in a spreadsheet. Close the iterator, and the statement is cancelled.
    """
    table = order.table
    inner = [
        sql.SQL("{} AS {}").format(_read(column), _name(number))
        for number, column in enumerate(columns)
    ]
    outer = [
        _guarded(number) if guard and column.kind in {Kind.TEXT, Kind.JSON} else _name(number)
        for number, column in enumerate(columns)
    ]
    # OFFSET 0 keeps the two levels apart, so that each cell is computed once.
    statement = sql.SQL(
        "SELECT {outer} FROM (SELECT {inner} FROM {table} WHERE {where} ORDER BY {key} OFFSET 0) AS r"
    ).format(
        outer=sql.SQL(", ").join(outer),
        inner=sql.SQL(", ").join(inner),
        table=sql.Identifier(table.name),
        where=_where(table, order.filter, tenant_id),
        key=sql.Identifier(table.key),
    )
    return copy_blocks(tx, statement.as_string(driver_connection(tx)))


def _attributes(tx: Connection, table: Table, where: sql.Composable) -> tuple[int, list[str]]:
    """How many rows there are, and every attribute of them. Most often the first rows have them all, and
    then to look whether another row has more is half the price of gathering them.
    """
    column = sql.Identifier(table.attributes or "")
    first = sql.SQL(
        "SELECT array_agg(DISTINCT name) FROM"
        " (SELECT {column} AS a FROM {table} WHERE {where} LIMIT {most}) AS r, jsonb_object_keys(a) AS name"
    )
    known = _one(tx, first, table, where, column=column, most=sql.Literal(_LOOK_ROWS))[0] or []
    rest = sql.SQL(
        "SELECT count(*), bool_or({column} - {known}::text[] <> '{{}}') FROM {table} WHERE {where}"
    )
    rows, more = _one(tx, rest, table, where, column=column, known=sql.Literal(known))
    if more:
        every = sql.SQL(
            "SELECT array_agg(DISTINCT name)"
            " FROM {table}, jsonb_object_keys({column}) AS name WHERE {where}"
        )
        known = _one(tx, every, table, where, column=column)[0]
    return rows, sorted(known)


def _spread(table: Table, names: Sequence[str], attributes: Sequence[str]) -> list[Column]:
    """Attributes take the place of the column that holds them; no two columns of the file share a name."""
    source = table.by_name[table.attributes or ""]
    taken = {name for name in names if name != source.name}
    columns: list[Column] = []
    for name in names:
        if name != source.name:
            columns.append(Column(name, table.by_name[name]))
            continue
        for attribute in attributes:
            shown = next(
                each
                for again in count(1)
                if (each := attribute if again == 1 else f"{attribute} ({again})") not in taken
            )
            taken.add(shown)
            columns.append(Column(shown, source, attribute))
    return columns


def _read(column: Column) -> sql.Composable:
    """The cell's value. An attribute that is no text is shown as JSON writes it."""
    name = sql.Identifier(column.source.name)
    if column.attribute is not None:
        return sql.SQL("{} ->> {}").format(name, sql.Literal(column.attribute))
    if column.kind is Kind.MOMENT:
        return _MOMENT.format(name)
    return sql.SQL("{}::text").format(name) if column.kind is Kind.JSON else name


def _where(table: Table, wanted: RowFilter, tenant_id: object) -> sql.Composable:
    parts: list[sql.Composable] = [sql.SQL("tenant_id = {}").format(sql.Literal(tenant_id))]
    for column, sign, bound in (
        ("created_at", ">=", wanted.created_from),
        ("created_at", "<", wanted.created_before),
        ("updated_at", ">=", wanted.updated_from),
        ("updated_at", "<", wanted.updated_before),
    ):
        if bound is not None:
            parts.append(
                sql.SQL("{} {} {}").format(
                    sql.Identifier(column), sql.SQL(sign), sql.Literal(bound)
                )
            )
    for name, value in (wanted.attributes or {}).items():
        parts.append(
            sql.SQL("{} ->> {} = {}").format(
                sql.Identifier(table.attributes or ""), sql.Literal(name), sql.Literal(value)
            )
        )
    return sql.SQL(" AND ").join(parts)


def _one(
    tx: Connection,
    statement: sql.SQL,
    table: Table,
    where: sql.Composable,
    **parts: sql.Composable,
) -> tuple[Any, ...]:
    composed = (
        statement.format(table=sql.Identifier(table.name), where=where, **parts)
        if parts
        else statement.format(sql.Identifier(table.name), where)
    )
    row = driver_connection(tx).execute(composed).fetchone()
    assert row is not None
    return row


def _name(number: int) -> sql.Identifier:
    return sql.Identifier(f"c{number}")


def _guarded(number: int) -> sql.SQL:
    return sql.SQL(guarded_sql(f"c{number}"))
