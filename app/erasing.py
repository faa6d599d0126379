"""Erasing all that is known of a tenant: its rows in every table, and its objects in the store.

Batch by batch, each a commit of its own; stopped at any place it is begun again from the start, and finds less.
Which tables there are, the models say: every one with a column `tenant_id`, a team's own too.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Connection, Engine, Table, TextClause, text
from sqlalchemy.exc import OperationalError

from app.db import transaction
from app.ledger import erase
from app.models.tables import TABLES
from app.storage import Storage, below_tenant

Answer = TypeVar("Answer")

BATCH = 1000
BLOCKS = 2000
"""Of 8 KiB: so much of a table without an index by tenant is read in one transaction."""
KEPT = frozenset({"audit_log"})
"""What operators did stays: it names the tenant's id."""
OBJECTS = "objects"
_PAUSE_SECONDS = 0.2
_LOCKED = frozenset({"55P03", "40P01"})
"""Somebody held a row for too long, or waited for ours."""

# A customer's events are nobody's until one has named the tenant.
_EVENTS = text("""
    DELETE FROM payment_events WHERE tenant_id IS NULL AND customer_id IN (
        SELECT customer_id FROM payment_customers WHERE tenant_id = :tenant_id)
""")
_PATIENCE = text("SET LOCAL lock_timeout = '3s'")
_BLOCKS = text("SELECT pg_relation_size(CAST(:name AS regclass)) / 8192")


@dataclass(frozen=True, slots=True)
class Erased:
    """So many more of a table's rows, or of the store's objects; none where somebody still holds them."""

    what: str
    number: int


def erase_all(
    engine: Engine, storage: Storage, tenant_id: UUID, *, batch: int = BATCH
) -> Iterator[Erased]:
    """Until nothing is left but the tenant's own row; yields what each commit took. Its jobs must not be sent any more.
    What comes while it goes on, from a request that had begun, is taken too.
    """
    found = True
    while found:
        found = False
        for step in _pass(engine, tenant_id, batch):
            found = found or step.number > 0
            yield step
    yield from _objects(storage, tenant_id)


def count_all(tx: Connection, storage: Storage, tenant_id: UUID) -> dict[str, int]:
    """What `erase_all` would take, but for what belongs to a job; reads tables without an index by tenant whole."""
    found: dict[str, int] = {}
    for name in {"jobs", "batches", *(table.name for table in tables())} - {"dead_letters"}:
        query = text(f"SELECT count(*) FROM {name} WHERE tenant_id = :tenant_id")  # noqa: S608 - a table's name
        found[name] = tx.execute(query, {"tenant_id": tenant_id}).scalar_one()
    found[OBJECTS], after, below = 0, "", below_tenant(tenant_id)
    while page := storage.list_objects(below, after=after):
        found[OBJECTS] += len(page)
        after = page[-1].key
    return {what: number for what, number in found.items() if number}


def tables() -> list[Table]:
    """Those with rows of a tenant that belong to no job or batch, each before what it refers to."""
    return [
        table
        for table in reversed(TABLES.sorted_tables)
        if "tenant_id" in table.c and table.name not in KEPT | erase.TABLES
    ]


def _pass(engine: Engine, tenant_id: UUID, batch: int) -> Iterator[Erased]:
    """Jobs before all that their endings would still want to write to."""
    yield from _ledger(engine, tenant_id, batch)
    _patiently(engine, lambda tx: erase.reword_incidents(tx, tenant_id))
    yield Erased("payment_events", _delete(engine, _EVENTS, tenant_id))
    for table in tables():
        erase_rows = _by_index if _is_indexed(table) else _by_blocks
        yield from erase_rows(engine, table, tenant_id, batch)


def _ledger(engine: Engine, tenant_id: UUID, batch: int) -> Iterator[Erased]:
    def step(tx: Connection) -> tuple[int, int, bool]:
        jobs = erase.erase_jobs(tx, tenant_id, limit=batch)
        batches = erase.erase_batches(tx, tenant_id, limit=batch)
        return jobs, batches, erase.anything_left(tx, tenant_id)

    more = True
    while more:
        jobs, batches, more = _patiently(engine, step)
        if more and not jobs + batches:
            time.sleep(_PAUSE_SECONDS)
        yield Erased("jobs", jobs)
        yield Erased("batches", batches)


def _is_indexed(table: Table) -> bool:
    whole = [
        index for index in table.indexes if index.dialect_options["postgresql"]["where"] is None
    ]
    leading = [next(iter(index.columns)) for index in whole] + list(table.primary_key)[:1]
    return any(column.name == "tenant_id" for column in leading)


def _by_index(engine: Engine, table: Table, tenant_id: UUID, batch: int) -> Iterator[Erased]:
    statement = text(f"""
        DELETE FROM {table.name} WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM {table.name} WHERE tenant_id = :tenant_id LIMIT :limit FOR UPDATE))
    """)  # noqa: S608 - a table's name
    while number := _delete(engine, statement, tenant_id, limit=batch):
        yield Erased(table.name, number)


def _by_blocks(engine: Engine, table: Table, tenant_id: UUID, _batch: int) -> Iterator[Erased]:
    """Through the table as it lies on the disk: each block is read once."""
    statement = text(f"""
        DELETE FROM {table.name} WHERE tenant_id = :tenant_id
        AND ctid >= CAST(:first AS tid) AND ctid < CAST(:behind AS tid)
    """)  # noqa: S608 - a table's name
    with transaction(engine) as tx:
        blocks: int = tx.execute(_BLOCKS, {"name": table.name}).scalar_one()
    for block in range(0, blocks, BLOCKS):
        place = {"first": f"({block},0)", "behind": f"({block + BLOCKS},0)"}
        yield Erased(table.name, _delete(engine, statement, tenant_id, **place))


def _delete(engine: Engine, statement: TextClause, tenant_id: UUID, **values: object) -> int:
    return _patiently(
        engine, lambda tx: tx.execute(statement, {"tenant_id": tenant_id, **values}).rowcount
    )


def _patiently(engine: Engine, step: Callable[[Connection], Answer]) -> Answer:
    """In a transaction; again where somebody held a row of it."""
    while True:
        try:
            with transaction(engine) as tx:
                tx.execute(_PATIENCE)
                return step(tx)
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) not in _LOCKED:
                raise


def _objects(storage: Storage, tenant_id: UUID) -> Iterator[Erased]:
    """Uploads that nobody finished first: they could become objects."""
    below = below_tenant(tenant_id)
    page, after = storage.open_uploads_page()
    while page:
        for upload in page:
            if upload.key.startswith(below):
                storage.abort_multipart(upload.key, upload.id)
        page, after = storage.open_uploads_page(after=after) if after else ([], None)
    while found := storage.list_objects(below):
        for item in found:
            storage.delete(item.key)
        yield Erased(OBJECTS, len(found))
