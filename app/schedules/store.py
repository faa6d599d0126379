"""Schedules as tenants and operators see and change them. Everything joins the caller's transaction."""

import json
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from app.db import database_time
from app.errors import Conflict, HeldByOperator, NotFound, Unprocessable
from app.ids import new_id
from app.ledger.contract import Catalog, JobContract
from app.ledger.enqueue import enqueue
from app.ledger.job_error import job_error
from app.schedules.catch_up import CatchUp
from app.schedules.cron import timetable
from app.schedules.kinds import contract_of, read_payload

MAX_PER_TENANT = 500
"""Nothing grows without bound: schedules are written by customers, and each adds jobs for ever."""

_SELECT = """
    SELECT s.*, t.name AS tenant, coalesce(s.timezone, t.timezone) AS zone, slot.slot_at,
           j.state AS job_state, j.finished_at AS job_finished_at
    FROM schedules s
    JOIN tenants t ON t.id = s.tenant_id
    LEFT JOIN jobs j ON j.id = s.last_job_id
    LEFT JOIN schedule_slots slot
           ON slot.schedule_id = s.id AND slot.slot_at = s.last_slot_at
          AND slot.job_id = s.last_job_id
"""
_ONE = text(f"{_SELECT} WHERE s.id = :id AND s.tenant_id = :tenant_id")
_PAGE = text(f"""{_SELECT}
    WHERE (CAST(:tenant_id AS uuid) IS NULL OR s.tenant_id = :tenant_id)
      AND (CAST(:before AS uuid) IS NULL OR s.id < :before)
    ORDER BY s.id DESC LIMIT :limit
""")
_BY_NAME = text("""
    SELECT id FROM schedules WHERE tenant_id = :tenant_id AND (name = :name OR id::text = :name)
    ORDER BY name = :name DESC LIMIT 1
""")
_LOCK = text("SELECT id FROM schedules WHERE id = :id AND tenant_id = :tenant_id FOR UPDATE")
_ROOM = text("SELECT count(*) FROM schedules WHERE tenant_id = :tenant_id")
_ZONE_NOW = text("SELECT timezone, clock_timestamp() AS now FROM tenants WHERE id = :tenant_id")
_INSERT = text("""
    INSERT INTO schedules (id, tenant_id, name, kind, version, payload, cron, timezone, catch_up,
                           next_at, paused_at)
    VALUES (:id, :tenant_id, :name, :kind, :version, CAST(:payload AS jsonb), :cron, :timezone,
            :catch_up, :next_at, CASE WHEN :paused THEN clock_timestamp() END)
    ON CONFLICT (tenant_id, name) DO NOTHING
    RETURNING id
""")
_UPDATE = text("""
    UPDATE schedules
    SET version = :version, payload = CAST(:payload AS jsonb), cron = :cron, timezone = :timezone,
        catch_up = :catch_up, next_at = :next_at,
        error = CASE WHEN :paused THEN coalesce(CAST(:error AS jsonb), error) END,
        paused_at = CASE WHEN :paused THEN coalesce(paused_at, clock_timestamp()) END,
        updated_at = clock_timestamp()
    WHERE id = :id
""")
_DELETE = text("DELETE FROM schedules WHERE id = :id AND tenant_id = :tenant_id")
_RAN = text("UPDATE schedules SET last_job_id = :job_id WHERE id = :id")
_FOLLOWERS = text("""
    SELECT id FROM schedules
    WHERE tenant_id = :tenant_id AND timezone IS NULL AND paused_at IS NULL ORDER BY id
""")
_MOVE = text("UPDATE schedules SET next_at = :next_at WHERE id = :id AND paused_at IS NULL")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSchedule:
    """A schedule to be. `timezone` None is the tenant's own, also after that changes."""

    name: str
    kind: str
    payload: dict[str, Any]
    cron: str
    timezone: str | None = None
    catch_up: CatchUp = CatchUp.LAST
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRun:
    """The newest job. `slot_at` is None when it was run by hand; `state` when it has been pruned."""

    job_id: UUID
    slot_at: datetime | None
    state: str | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A schedule as it stands; `zone` is the name of the time zone that counts."""

    id: UUID
    tenant_id: UUID
    tenant: str
    name: str
    kind: str
    version: int
    payload: dict[str, Any]
    cron: str
    timezone: str | None
    zone: str
    catch_up: CatchUp
    paused_at: datetime | None
    error: dict[str, str] | None
    next_at: datetime | None
    last_run: LastRun | None
    created_at: datetime
    updated_at: datetime

    def next_runs(self, count: int = 5) -> list[datetime]:
        """The slots to come, in the schedule's zone; none while it is paused."""
        if self.next_at is None:
            return []
        try:
            table = timetable(self.cron, self.zone)
        except Unprocessable:  # the dispatcher will say so, and pause it
            return []
        slots = chain([self.next_at], table.after(self.next_at))
        return [slot.astimezone(table.zone) for slot in islice(slots, count)]


def create(
    tx: Connection, tenant_id: UUID, catalog: Catalog, new: NewSchedule, *, public_only: bool
) -> UUID:
    """Add it; its first slot is the next one from now. Raises Unprocessable and Conflict."""
    contract = contract_of(catalog, new.kind, public_only=public_only)
    read_payload(contract, new.payload)
    next_at = _next_slot(tx, tenant_id, new.cron, new.timezone)
    if public_only and tx.execute(_ROOM, {"tenant_id": tenant_id}).scalar_one() >= MAX_PER_TENANT:
        raise Unprocessable(
            f"There are {MAX_PER_TENANT} schedules already. Delete some of them first.",
            code="too_many_schedules",
        )
    made = tx.execute(
        _INSERT,
        {
            "id": new_id(),
            "tenant_id": tenant_id,
            "name": new.name,
            "kind": new.kind,
            "version": contract.spec.version,
            "payload": json.dumps(new.payload),
            "cron": new.cron,
            "timezone": new.timezone,
            "catch_up": new.catch_up.value,
            "next_at": None if new.paused else next_at,
            "paused": new.paused,
        },
    )
    created: UUID | None = made.scalar_one_or_none()
    if created is None:
        raise Conflict(
            f"There is a schedule called {new.name!r} already. Change it, or use another name.",
            code="schedule_exists",
        )
    return created


def load(tx: Connection, tenant_id: UUID, schedule_id: UUID) -> Schedule:
    """Raises NotFound."""
    row = tx.execute(_ONE, {"id": schedule_id, "tenant_id": tenant_id}).one_or_none()
    if row is None:
        raise _missing(schedule_id)
    return _schedule(row)


def page(
    tx: Connection, tenant_id: UUID | None, *, before: UUID | None = None, limit: int | None = None
) -> list[Schedule]:
    """The newest schedules first, of one tenant or (None) of all, those older than `before`."""
    rows = tx.execute(_PAGE, {"tenant_id": tenant_id, "before": before, "limit": limit})
    return [_schedule(row) for row in rows]


def find(tx: Connection, tenant_id: UUID, name_or_id: str) -> UUID:
    """Raises NotFound."""
    found: UUID | None = tx.execute(
        _BY_NAME, {"tenant_id": tenant_id, "name": name_or_id}
    ).scalar_one_or_none()
    if found is None:
        raise _missing(name_or_id)
    return found


def edit(
    tx: Connection,
    tenant_id: UUID,
    schedule_id: UUID,
    catalog: Catalog,
    changes: dict[str, Any],
    *,
    public_only: bool,
    why: str | None = None,
) -> None:
    """Change any of cron, timezone, catch_up, payload and paused. Raises NotFound, Unprocessable, HeldByOperator.

    Another time or the end of a pause begins anew with the next slot from now: what was missed before
    stays missed. A payload that is sent is taken as of the contract's present version. `why` an operator
    pauses it is kept with it, and then only operators end the pause.
    """
    _lock(tx, tenant_id, schedule_id)
    now = load(tx, tenant_id, schedule_id)
    if public_only and changes.get("paused") is False:
        _check_free(now)
    contract = contract_of(catalog, now.kind, public_only=public_only)
    version = contract.spec.version if "payload" in changes else now.version
    payload = changes.get("payload", now.payload)
    read_payload(contract, payload, version=version)
    was_paused = now.paused_at is not None
    cron, zone = changes.get("cron", now.cron), changes.get("timezone", now.timezone)
    paused = changes.get("paused", was_paused)
    again = was_paused or (cron, zone) != (now.cron, now.timezone)
    next_at = _next_slot(tx, tenant_id, cron, zone) if again else now.next_at
    tx.execute(
        _UPDATE,
        {
            "id": schedule_id,
            "version": version,
            "payload": json.dumps(payload),
            "cron": cron,
            "timezone": zone,
            "catch_up": CatchUp(changes.get("catch_up", now.catch_up)).value,
            "next_at": None if paused else next_at,
            "paused": paused,
            "error": why and json.dumps(job_error(HeldByOperator.code, why)),
        },
    )


def delete(tx: Connection, tenant_id: UUID, schedule_id: UUID, *, public_only: bool) -> None:
    """Forget it and its slots; jobs that it has made go on. Tenants can't where an operator has paused it: they could
    make it once more. Raises NotFound, HeldByOperator.
    """
    _lock(tx, tenant_id, schedule_id)
    if public_only:
        _check_free(load(tx, tenant_id, schedule_id))
    tx.execute(_DELETE, {"id": schedule_id, "tenant_id": tenant_id})


def run_now(
    tx: Connection, tenant_id: UUID, schedule_id: UUID, catalog: Catalog, *, public_only: bool
) -> UUID:
    """One job at once, beside the slots and also while it is paused, for tenants unless by an operator. Raises
    NotFound, Unprocessable, HeldByOperator.
    """
    _lock(tx, tenant_id, schedule_id)
    schedule = load(tx, tenant_id, schedule_id)
    if public_only:
        _check_free(schedule)
    job = _job(schedule, catalog, public_only=public_only)
    job.check_makes_sense(database_time(tx))
    job_id = enqueue(tx, tenant_id, job).id
    tx.execute(_RAN, {"id": schedule_id, "job_id": job_id})
    return job_id


def follow_tenant(tx: Connection, tenant_id: UUID) -> None:
    """The tenant's time zone has changed: schedules without one of their own begin anew in it."""
    for schedule_id in tx.execute(_FOLLOWERS, {"tenant_id": tenant_id}).scalars().all():
        _lock(tx, tenant_id, schedule_id)
        schedule = load(tx, tenant_id, schedule_id)
        next_at = _next_slot(tx, tenant_id, schedule.cron, None)
        tx.execute(_MOVE, {"id": schedule_id, "next_at": next_at})


def _job(schedule: Schedule, catalog: Catalog, *, public_only: bool) -> JobContract:
    contract = contract_of(catalog, schedule.kind, public_only=public_only)
    return read_payload(contract, schedule.payload, version=schedule.version)


def _check_free(schedule: Schedule) -> None:
    if schedule.error and schedule.error["code"] == HeldByOperator.code:
        raise HeldByOperator("this schedule", schedule.error["message"])


def _lock(tx: Connection, tenant_id: UUID, schedule_id: UUID) -> None:
    """Waits for a dispatcher that is firing it."""
    if tx.execute(_LOCK, {"id": schedule_id, "tenant_id": tenant_id}).one_or_none() is None:
        raise _missing(schedule_id)


def _next_slot(tx: Connection, tenant_id: UUID, cron: str, zone: str | None) -> datetime:
    tenant = tx.execute(_ZONE_NOW, {"tenant_id": tenant_id}).one()
    slot = timetable(cron, tenant.timezone if zone is None else zone).next_after(tenant.now)
    if slot is None:
        raise Unprocessable(f"{cron!r} never comes round again.", code="invalid_cron")
    return slot


def _missing(which: object) -> NotFound:
    return NotFound(f"There is no schedule {which}.")


def _schedule(row: Row[Any]) -> Schedule:
    facts = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    job_id, slot_at = facts.pop("last_job_id"), facts.pop("slot_at")
    state, finished_at = facts.pop("job_state"), facts.pop("job_finished_at")
    last = job_id and LastRun(job_id=job_id, slot_at=slot_at, state=state, finished_at=finished_at)
    del facts["last_slot_at"]
    return Schedule(**{**facts, "catch_up": CatchUp(facts["catch_up"]), "last_run": last})
