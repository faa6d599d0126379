"""A row in every table there is, made from the models: what a table asks for and nothing more."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Column, Connection, Table, insert, text
from sqlalchemy.dialects.postgresql import JSONB

from app.ids import new_id
from app.models.tables import TABLES

_OF_TYPE: dict[type, Any] = {
    int: 1,
    float: 1.0,
    str: "canary",
    bool: False,
    bytes: b"canary",
    Decimal: Decimal(1),
    datetime: datetime(2026, 1, 1, tzinfo=UTC),
    date: date(2026, 1, 1),
}
# Which values may stand beside which is beside the point here.
_UNCHECK = """
    DO $$ DECLARE one record; BEGIN
        FOR one IN SELECT conrelid::regclass AS place, conname FROM pg_constraint
                   WHERE contype = 'c' AND connamespace = 'public'::regnamespace LOOP
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', one.place, one.conname);
        END LOOP;
    END $$
"""


def fill_every_table(tx: Connection, tenant_id: UUID) -> None:
    """One of the tenant's in each; what it refers to is the tenant's own. The database holds no checks any more."""
    tx.execute(text(_UNCHECK))
    made: dict[str, dict[str, Any]] = {
        "tenants": {"id": tenant_id},
        "jobs": {"id": new_id(), "state": "queued"},
        "batches": {"id": new_id()},
    }
    for table in TABLES.sorted_tables:
        if table.name != "tenants":
            row = {**dict(_values(table, tenant_id, made)), **made.get(table.name, {})}
            made[table.name] = row
            tx.execute(insert(table).values(**row))


def _values(
    table: Table, tenant_id: UUID, made: dict[str, dict[str, Any]]
) -> Iterator[tuple[str, Any]]:
    known = {
        "tenant_id": tenant_id,
        "job_id": made["jobs"]["id"],
        "batch_id": made["batches"]["id"],
    }
    for column in table.c:
        if column.name in known:
            yield column.name, known[column.name]
        elif column.foreign_keys:
            there = next(iter(column.foreign_keys)).column
            yield column.name, made[there.table.name][there.name]
        elif column.identity is None and (
            column.primary_key or not (column.nullable or column.server_default)
        ):
            yield column.name, _value(column)


def _value(column: Column[Any]) -> Any:
    if isinstance(column.type, ARRAY):
        return []
    if isinstance(column.type, JSONB):
        return {}
    kind = column.type.python_type
    if kind is UUID:
        return new_id()
    return f"canary-{new_id()}" if kind is str else _OF_TYPE[kind]
