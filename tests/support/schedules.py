"""Schedules without HTTP, and what they have fired."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Engine, text

from app.jobs import CATALOG
from app.ledger.contract import Catalog, JobContract
from app.schedules import store
from app.schedules.catch_up import CatchUp
from app.schedules.firing import fire_due
from tests.support.jobs import LazyNote, Note, UrgentNote
from tests.support.servers import wait_for

NOTES: Catalog = {each.spec.kind: each for each in (Note, UrgentNote, LazyNote)}
"""Kinds that exist in tests alone, beside the product's."""
KINDS: Catalog = {**CATALOG, **NOTES}


def add_schedule(
    engine: Engine,
    tenant_id: UUID,
    *,
    cron: str = "* * * * *",
    job: JobContract | None = None,
    timezone: str | None = None,
    catch_up: CatchUp = CatchUp.LAST,
) -> UUID:
    """A schedule as an operator may add it."""
    job = job or Note()
    new = store.NewSchedule(
        name=f"schedule-{uuid4().hex[:8]}",
        kind=job.spec.kind,
        payload=job.model_dump(mode="json"),
        cron=cron,
        timezone=timezone,
        catch_up=catch_up,
    )
    with engine.begin() as tx:
        return store.create(tx, tenant_id, KINDS, new, public_only=False)


def make_due(engine: Engine, schedule_id: UUID, *, slots: int = 1) -> list[datetime]:
    """As if nobody had looked at a minute's schedule for the last `slots` minutes: the missed slots.

    It leaves the test five seconds before the next slot.
    """
    wait_for(lambda: _second(engine) < 55, what="a new minute")
    with engine.begin() as tx:
        now = tx.execute(text("SELECT date_trunc('minute', clock_timestamp())")).scalar_one()
        missed = [now - timedelta(minutes=minutes) for minutes in reversed(range(slots))]
        change(tx, schedule_id, next_at=missed[0])
    return missed


def _second(engine: Engine) -> float:
    with engine.connect() as tx:
        query = text("SELECT extract(second FROM clock_timestamp())")
        return float(tx.execute(query).scalar_one())


def change(tx: Connection, schedule_id: UUID, **columns: Any) -> None:
    """Write to the row behind everybody's back."""
    names = ", ".join(f"{name} = :{name}" for name in columns)
    tx.execute(
        text(f"UPDATE schedules SET {names} WHERE id = :id"),  # noqa: S608
        {"id": schedule_id, **columns},
    )


def fire(engine: Engine, catalog: Catalog = KINDS, *, batch: int = 100) -> int:
    """One round of a dispatcher."""
    with engine.begin() as tx:
        return fire_due(tx, catalog, batch=batch)


def fired(engine: Engine, schedule_id: UUID) -> dict[datetime, UUID]:
    """The slots that have been fired, with their jobs."""
    query = text("""
        SELECT slot_at, job_id FROM schedule_slots JOIN jobs ON jobs.id = job_id
        WHERE schedule_id = :id ORDER BY slot_at
    """)
    with engine.connect() as tx:
        return {row.slot_at: row.job_id for row in tx.execute(query, {"id": schedule_id})}


def row_of(engine: Engine, schedule_id: UUID) -> dict[str, Any]:
    with engine.connect() as tx:
        query = text("SELECT * FROM schedules WHERE id = :id")
        return dict(tx.execute(query, {"id": schedule_id}).one()._mapping)
