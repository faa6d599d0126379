"""Fire what is due: in one transaction the slot, its job and the schedule's next slot.

Any number of dispatchers may do it at once: a due schedule is locked by one of them, the others skip it,
and a slot's row can be there only once. All times are the database's; a dispatcher's own clock is never
asked.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection, text

from app.errors import Unprocessable
from app.ledger.contract import Catalog, JobContract
from app.ledger.enqueue import NewJob, enqueue_many
from app.ledger.job_error import JobError, job_error
from app.schedules.catch_up import CatchUp, firing
from app.schedules.cron import timetable
from app.schedules.kinds import contract_of, read_payload

log = structlog.get_logger()

BATCH = 100

_TAKE = text("""
    SELECT s.id, s.tenant_id, s.kind, s.version, s.payload, s.cron, s.catch_up, s.next_at,
           coalesce(s.timezone, t.timezone) AS zone, clock_timestamp() AS now
    FROM schedules s JOIN tenants t ON t.id = s.tenant_id
    WHERE s.next_at <= clock_timestamp()
    ORDER BY s.next_at
    LIMIT :batch
    FOR NO KEY UPDATE OF s SKIP LOCKED
""")
_FIRED = text("""
    SELECT schedule_id, slot_at FROM schedule_slots
    JOIN unnest(CAST(:schedules AS uuid[]), CAST(:slots AS timestamptz[])) AS w(schedule_id, slot_at)
    USING (schedule_id, slot_at)
""")
_KEEP = text("""
    INSERT INTO schedule_slots (schedule_id, slot_at, job_id)
    SELECT * FROM unnest(CAST(:schedules AS uuid[]), CAST(:slots AS timestamptz[]),
                         CAST(:jobs AS uuid[]))
""")
_MOVE_ON = text("""
    UPDATE schedules s
    SET next_at = m.next_at, error = m.error,
        paused_at = CASE WHEN m.next_at IS NULL THEN clock_timestamp() END,
        last_slot_at = coalesce(m.last_slot_at, s.last_slot_at),
        last_job_id = coalesce(m.last_job_id, s.last_job_id)
    FROM jsonb_to_recordset(CAST(:moves AS jsonb)) AS m(
        id uuid, next_at timestamptz, error jsonb, last_slot_at timestamptz, last_job_id uuid)
    WHERE s.id = m.id
""")
_NEXT = text("SELECT extract(epoch FROM min(next_at) - clock_timestamp()) FROM schedules")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Due:
    id: UUID
    tenant_id: UUID
    kind: str
    version: int
    payload: dict[str, Any]
    cron: str
    catch_up: str
    next_at: datetime
    zone: str
    now: datetime


@dataclass(slots=True, kw_only=True)
class _Move:
    """What becomes of a due schedule: jobs for `slots`, then `next_at`; paused with `error` without one."""

    due: _Due
    job: JobContract | None = None
    slots: Sequence[datetime] = ()
    next_at: datetime | None = None
    error: JobError | None = None
    last: tuple[datetime, UUID] | None = None


def fire_due(tx: Connection, catalog: Catalog, *, batch: int = BATCH) -> int:
    """Enqueue one job for each slot that has come, for at most `batch` schedules; returns how many
    schedules were due, so that 0 means that nothing is left to do now.

    A schedule that can't be fired (its kind is gone, its payload fits no more, its timetable has ended) is
    paused with an error, and keeps nobody waiting.
    """
    rows = tx.execute(_TAKE, {"batch": batch})
    due = [_Due(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for it
    if not due:
        return 0
    moves = [_decide(schedule, catalog) for schedule in due]
    _leave_out_fired(tx, moves)
    _enqueue(tx, moves)
    tx.execute(_MOVE_ON, {"moves": json.dumps([_row(move) for move in moves])})
    return len(due)


def seconds_to_next(tx: Connection) -> float | None:
    """How long until a schedule is due, 0 when one is; None when there is none that isn't paused."""
    answer = tx.execute(_NEXT).scalar_one()
    return None if answer is None else max(0.0, float(answer))


def _decide(due: _Due, catalog: Catalog) -> _Move:
    try:
        contract = contract_of(catalog, due.kind, public_only=False)
        job = read_payload(contract, due.payload, version=due.version)
        table = timetable(due.cron, due.zone)
        plan = firing(table, CatchUp(due.catch_up), next_at=due.next_at, now=due.now)
    except Unprocessable as bad:
        return _pause(due, job_error(bad.code, str(bad)))
    except Exception as fault:
        log.exception("schedule.fault", schedule_id=str(due.id))
        return _pause(due, job_error("fault", f"{type(fault).__name__}: {fault}"))
    if plan.next_at is None:
        move = _pause(due, job_error("no_more_slots", "The expression never comes round again."))
    else:
        move = _Move(due=due, next_at=plan.next_at)
    move.job, move.slots = job, plan.slots
    return move


def _pause(due: _Due, error: JobError) -> _Move:
    log.warning("schedule.paused", schedule_id=str(due.id), kind=due.kind, code=error["code"])
    return _Move(due=due, error=error)


def _leave_out_fired(tx: Connection, moves: Sequence[_Move]) -> None:
    """Slots that have their job already: a database's clock may go back, after a failover."""
    wanted = [(move.due.id, slot) for move in moves for slot in move.slots]
    if wanted:
        schedules, slots = zip(*wanted, strict=True)
        rows = tx.execute(_FIRED, {"schedules": list(schedules), "slots": list(slots)})
        fired = {(row.schedule_id, row.slot_at) for row in rows}
        for move in moves:
            move.slots = [slot for slot in move.slots if (move.due.id, slot) not in fired]


def _enqueue(tx: Connection, moves: Sequence[_Move]) -> None:
    """The jobs and their slots, one statement per tenant."""
    by_tenant: dict[UUID, list[tuple[_Move, datetime, NewJob]]] = defaultdict(list)
    for move in moves:
        if move.job is not None:
            new = NewJob(job=move.job)
            by_tenant[move.due.tenant_id] += [(move, slot, new) for slot in move.slots]
    for tenant_id, wanted in by_tenant.items():
        if not wanted:
            continue
        made = enqueue_many(tx, tenant_id, [new for _, _, new in wanted])
        for (move, slot, _), job in zip(wanted, made, strict=True):
            move.last = (slot, job.id)
        tx.execute(
            _KEEP,
            {
                "schedules": [move.due.id for move, _, _ in wanted],
                "slots": [slot for _, slot, _ in wanted],
                "jobs": [job.id for job in made],
            },
        )
        log.info("schedule.fired", tenant_id=str(tenant_id), jobs=len(made))


def _row(move: _Move) -> dict[str, object]:
    slot, job_id = move.last or (None, None)
    return {
        "id": str(move.due.id),
        "next_at": move.next_at.isoformat() if move.next_at else None,
        "error": move.error,
        "last_slot_at": slot.isoformat() if slot else None,
        "last_job_id": str(job_id) if job_id else None,
    }
