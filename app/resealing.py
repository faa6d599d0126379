"""Sealing all that is sealed anew, with the first of the keys: after that the old ones may go."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import Engine, text

from app.db import transaction
from app.sealing import CannotOpen, is_newest, seal, unseal
from app.settings import Settings

BATCH = 200
SEALED = (
    ("connections", "token"),
    ("webhook_endpoints", "secret"),
    ("webhook_endpoints", "previous_secret"),
)
"""Every column of sealed secrets; the row's id is their owner."""

_NEXT = """
    SELECT id, {column} AS sealed FROM {table}
    WHERE id > :after AND {column} IS NOT NULL ORDER BY id LIMIT :limit
"""
# Only what is still as it was read: a new secret that came meanwhile stays.
_KEEP = "UPDATE {table} SET {column} = :again WHERE id = :id AND {column} = :sealed"


@dataclass(slots=True, kw_only=True)
class Resealed:
    """How far one column is: `newest` were sealed with the first key already; no key opens the `lost`."""

    table: str
    column: str
    resealed: int = 0
    newest: int = 0
    lost: list[UUID] = field(default_factory=list)


def reseal(
    engine: Engine, settings: Settings, *, dry_run: bool = False, batch: int = BATCH
) -> Iterator[Resealed]:
    """Column by column, in small transactions; yields where it stands after each. Safe to stop and repeat, and
    beside everything else. Raises CannotSeal.
    """
    seal(
        "", settings, owner=UUID(int=0)
    )  # a key that is missing is told also where nothing is sealed
    for table, column in SEALED:
        told = Resealed(table=table, column=column)
        after: UUID | None = UUID(int=0)
        while after is not None:
            after = _step(engine, settings, told, after, dry_run=dry_run, batch=batch)
            yield told


def _step(
    engine: Engine, settings: Settings, told: Resealed, after: UUID, *, dry_run: bool, batch: int
) -> UUID | None:
    """The next batch; behind which row it goes on, None at the end."""
    names = {"table": told.table, "column": told.column}
    with transaction(engine) as tx:
        rows = tx.execute(text(_NEXT.format(**names)), {"after": after, "limit": batch}).all()
        for row in rows:
            if is_newest(row.sealed, settings, owner=row.id):
                told.newest += 1
                continue
            try:
                secret = unseal(row.sealed, settings, owner=row.id)
            except CannotOpen:
                told.lost.append(row.id)
                continue
            told.resealed += 1
            if not dry_run:
                again = seal(secret, settings, owner=row.id)
                facts = {"id": row.id, "sealed": row.sealed, "again": again}
                tx.execute(text(_KEEP.format(**names)), facts)
    return rows[-1].id if len(rows) == batch else None
