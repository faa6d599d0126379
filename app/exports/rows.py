"""The rows of an export, or of a part of it, as PostgreSQL's COPY writes them: one statement, one snapshot, in the
order of the key.

PostgreSQL does the work: it quotes, and takes attributes apart. What comes here is blocks of rows, and is
passed on as it is.
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

MAX_COLUMNS = 1000
"""More than that no spreadsheet shows; and PostgreSQL's limit is 1,664."""
_LOOK_ROWS = 1000
_FEW_ATTRIBUTES = 3
_EMPTY_OBJECT_BYTES = 8
"""Of `{}` as jsonb, and of nothing else. To compare with it costs more than to take attributes off."""
_SAMPLE_MASK = 63
"""Of the ids' hashes: one row of 64 is in the sample."""
_MEASURED_ROWS = 1000
"""Of so many of the sample the length is looked at."""
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
class Sample:
    """Keys of some of the rows, in no order, and about how many bytes one row comes to as CSV."""

    keys: Sequence[str]
    row_bytes: float


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows and columns that an order comes to, in the snapshot of `tx`. `attributes` are those that have
    columns of their own.
    """

    columns: Sequence[Column]
    rows: int
    sample: Sample
    attributes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Between:
    """A run of keys: from `first` (included) to `before` (excluded), each None for no end."""

    first: str | None = None
    before: str | None = None


EVERYTHING = Between()


def take_snapshot(tx: Connection) -> None:
    """From here on `tx` sees one moment. To be called before anything else in it."""
    tx.execute(_SNAPSHOT)


def select_rows(tx: Connection, order: Order, tenant_id: object, *, spread: bool) -> Selection:
    """Count the rows and take a sample; with `spread` find every attribute that one of them has, each to be a
    column of its own.

    Raises Unprocessable (`too_many_columns`) where these are more than a file should have.
    """
    table = order.table
    where = _where(table, order.filter, tenant_id)
    attributes: list[str] | None = None
    if spread and table.attributes in _names(order):
        attributes, rows, keys = _attributes(tx, table, where)
    else:
        rows, keys = _one(tx, _COUNTED, table, where, sample=_sampled(table))
    columns = columns_of(order, attributes)
    if len(columns) > MAX_COLUMNS:
        raise Unprocessable(
            f"The rows have {len(attributes or ())} different attributes; a file has {MAX_COLUMNS} columns "
            "at most. Name the columns without 'attributes', or ask for 'parquet', which keeps them in one.",
            code="too_many_columns",
        )
    sample = _sample(tx, table, where, columns, keys or [])
    return Selection(columns, rows, sample, attributes or ())


def columns_of(order: Order, attributes: Sequence[str] | None = None) -> list[Column]:
    """The file's columns, where these attributes have one each; None keeps them in one."""
    names = _names(order)
    if attributes is None or order.table.attributes not in names:
        return [Column(name, order.table.by_name[name]) for name in names]
    return _spread(order.table, names, attributes)


def copy_rows(
    tx: Connection,
    order: Order,
    tenant_id: object,
    columns: Sequence[Column],
    between: Between = EVERYTHING,
) -> Generator[bytes]:
    """The rows as CSV, in blocks of whole ones, each with a line feed at its end. NULL is nothing, the empty
    text `""`; no cell is guarded. Close the iterator, and the statement is cancelled.
    """
    table = order.table
    # By the table's column: the key alone would be a cell of that name, which may be another thing.
    statement = sql.SQL("SELECT {cells} FROM {table} WHERE {where} ORDER BY {key}").format(
        cells=sql.SQL(", ").join(map(_read, columns)),
        table=sql.Identifier(table.name),
        where=_where(table, order.filter, tenant_id, between),
        key=sql.Identifier(table.name, table.key),
    )
    return copy_blocks(tx, statement.as_string(driver_connection(tx)))


def in_key_order(tx: Connection, table: Table, keys: Sequence[str]) -> list[str]:
    """The keys as the table's own index sorts them."""
    # A row of the column's type has the column's collation, which a parameter has not.
    statement = sql.SQL(
        "SELECT key FROM (SELECT {key} AS key FROM {table} WHERE false"
        " UNION ALL SELECT unnest(%s::text[])) AS r ORDER BY key"
    ).format(key=sql.Identifier(table.key), table=sql.Identifier(table.name))
    rows = driver_connection(tx).execute(statement, [list(keys)]).fetchall()
    return [key for (key,) in rows]


def _names(order: Order) -> list[str]:
    return order.columns or [source.name for source in order.table.sources if source.own]


_COUNTED = sql.SQL("SELECT count(*), {sample} FROM {table} WHERE {where}")


def _attributes(
    tx: Connection, table: Table, where: sql.Composable
) -> tuple[list[str], int, list[str]]:
    """Every attribute of the rows, how many rows there are, and a sample of keys. Most often the first rows
    have all attributes, and then to look whether another row has more is half the price of gathering them.
    """
    column = sql.Identifier(table.attributes or "")
    first = sql.SQL(
        "SELECT array_agg(DISTINCT name) FROM"
        " (SELECT {column} AS a FROM {table} WHERE {where} LIMIT {most}) AS r, jsonb_object_keys(a) AS name"
    )
    known = _one(tx, first, table, where, column=column, most=sql.Literal(_LOOK_ROWS))[0] or []
    rest = sql.SQL(
        "SELECT max(pg_column_size({others})), count(*), {sample} FROM {table} WHERE {where}"
    )
    others, sample = _without(column, known), _sampled(table)
    largest, rows, keys = _one(tx, rest, table, where, others=others, sample=sample)
    if (largest or 0) > _EMPTY_OBJECT_BYTES:
        every = sql.SQL(
            "SELECT array_agg(DISTINCT name)"
            " FROM {table}, jsonb_object_keys({column}) AS name WHERE {where}"
        )
        known = _one(tx, every, table, where, column=column)[0]
    return sorted(known), rows, keys or []


def _without(column: sql.Composable, known: Sequence[str]) -> sql.Composable:
    """The other attributes. To take a few off one by one is cheaper than all of a list."""
    if len(known) > _FEW_ATTRIBUTES:
        return sql.SQL("{} - {}::text[]").format(column, sql.Literal(list(known)))
    names = [sql.SQL("{}::text").format(sql.Literal(name)) for name in known]
    return sql.SQL(" - ").join([column, *names])


def _sampled(table: Table) -> sql.Composable:
    """An aggregate that parallel workers can share."""
    return sql.SQL("array_agg({key}) FILTER (WHERE uuid_hash(id) & {mask} = 0)").format(
        key=sql.Identifier(table.key), mask=sql.Literal(_SAMPLE_MASK)
    )


def _sample(
    tx: Connection, table: Table, where: sql.Composable, columns: Sequence[Column], keys: list[str]
) -> Sample:
    """With the mean length of some of its rows as lines of CSV."""
    if not keys:
        return Sample((), 0.0)
    lengths = [
        sql.SQL("coalesce(octet_length(({})::text), 0)").format(_read(column)) for column in columns
    ]
    mean = sql.SQL("SELECT avg({length}) FROM {table} WHERE {where} AND {key} = ANY({some})")
    (size,) = _one(
        tx,
        mean,
        table,
        where,
        length=sql.SQL(" + ").join([*lengths, sql.Literal(len(lengths) + 1)]),
        key=sql.Identifier(table.key),
        some=sql.Literal(keys[:: 1 + len(keys) // _MEASURED_ROWS]),
    )
    return Sample(keys, float(size or 0))


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


def _where(
    table: Table, wanted: RowFilter, tenant_id: object, between: Between = EVERYTHING
) -> sql.Composable:
    parts: list[sql.Composable] = [sql.SQL("tenant_id = {}").format(sql.Literal(tenant_id))]
    for column, sign, bound in (
        (table.key, ">=", between.first),
        (table.key, "<", between.before),
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
    composed = statement.format(table=sql.Identifier(table.name), where=where, **parts)
    row = driver_connection(tx).execute(composed).fetchone()
    assert row is not None
    return row
