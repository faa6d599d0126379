"""Finding jobs over all tenants, among a million and more, without an index of its own.

Ids are UUIDv7 and so in the order of time: a time is a place in the primary key. States that few jobs are in
have small tables of their own, which name the jobs. Whatever else is asked for is looked for among `window`
jobs at a time, newest first; the answer says where it stopped, and the next one goes on there.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from app.ledger.state import State

WINDOW = 50_000
"""So many jobs are looked at for one page; `make bench NAME=console` says what that takes."""
FEW_WINDOW = 10_000
"""As many that one of the small tables names: each of them has to be looked up by itself."""

_OF_ITS_OWN = {
    State.QUEUED: "SELECT job_id, tenant_id FROM in_flight",
    State.RUNNING: "SELECT job_id, tenant_id FROM in_flight",
    State.SCHEDULED: "SELECT job_id, tenant_id FROM outbox",
    State.WAITING: "SELECT job_id FROM waiting",
    State.DEAD: """
        SELECT job_id, tenant_id FROM dead_letters
        WHERE job_id IS NOT NULL AND state <> 'replayed'
    """,
}
"""The tables that hold exactly, or a little more than, the jobs in a state; by the id of the job."""

_COLUMNS = """
    j.tenant_id, j.kind, j.queue, j.state, j.attempt, j.max_attempts, j.run_at, j.created_at,
    j.started_at, j.finished_at, j.worker,
    coalesce(j.unique_key, j.lapsed_key) AS unique_key, j.error ->> 'code' AS code,
    j.error ->> 'message' AS message
"""
_PLACE = """
    {id} < CAST(:before AS uuid) AND {id} >= CAST(:after AS uuid) {tenant}
    ORDER BY {id} DESC LIMIT :window
"""
# Row by row, so that the jobs are read in the order of the few, and no more of them than are wanted.
_OF_FEW = f"""
    SELECT few.id, {_COLUMNS} FROM ({{few}}) few
    CROSS JOIN LATERAL (SELECT * FROM jobs WHERE id = few.id OFFSET 0) j
"""  # noqa: S608 - constants, here and below
_FITS = """
    WHERE (CAST(:state AS text) IS NULL OR state = :state)
      AND (CAST(:kind AS text) IS NULL OR kind = :kind)
      AND (CAST(:words AS text) IS NULL
           OR strpos(lower(coalesce(unique_key, '')), lower(:words)) > 0
           OR strpos(lower(coalesce(code, '')), lower(:words)) > 0
           OR strpos(lower(coalesce(message, '')), lower(:words)) > 0)
"""
_BY_ID = text(f"""
    SELECT j.id, {_COLUMNS}, t.name AS tenant
    FROM jobs j LEFT JOIN tenants t ON t.id = j.tenant_id
    WHERE j.id IN (
        SELECT id FROM jobs WHERE id = :id
        UNION ALL (SELECT id FROM jobs WHERE parent_id = :id ORDER BY id DESC LIMIT :limit)
        UNION ALL (SELECT id FROM jobs WHERE batch_id = :id ORDER BY id DESC LIMIT :limit)
    )
    ORDER BY j.id DESC LIMIT :limit
""")  # noqa: S608 - constants

LAST_ID = UUID(int=2**128 - 1)
FIRST_ID = UUID(int=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which jobs: all that fit every part which is given. `words` are part of the unique key, the error's
    code or its message, in any case; the times are those of the job's making.
    """

    kind: str | None = None
    state: State | None = None
    tenant_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    words: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A job in a list; `tenant` is None where that is gone."""

    id: UUID
    tenant_id: UUID
    tenant: str | None
    kind: str
    queue: str
    state: str
    attempt: int
    max_attempts: int
    run_at: datetime
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    worker: str | None
    unique_key: str | None
    code: str | None
    message: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The jobs, newest first. What is older than `next_before` hasn't been looked at; None: there is none
    that is. Of the jobs before it, `complete` says whether all that fit are here.
    """

    jobs: list[Found]
    next_before: UUID | None
    complete: bool


def search(
    tx: Connection,
    wanted: Wanted,
    *,
    before: UUID | None = None,
    limit: int,
    window: int | None = None,
) -> Answer:
    """Of the jobs older than `before`, the newest `limit` that fit, among `window` at most; None is
    FEW_WINDOW where a small table names them, and WINDOW elsewhere.
    """
    ids, looked, usual = _looked_at(wanted)
    facts: dict[str, Any] = {
        "kind": wanted.kind,
        "state": wanted.state and wanted.state.value,
        "words": wanted.words or None,
        "tenant_id": wanted.tenant_id,
        "before": min(before or LAST_ID, first_id_at(wanted.until) if wanted.until else LAST_ID),
        "after": first_id_at(wanted.since) if wanted.since else FIRST_ID,
        "window": usual if window is None else window,
        "limit": limit + 1,
    }
    rows = tx.execute(
        text(f"""
            SELECT looked.*, t.name AS tenant
            FROM (SELECT * FROM ({looked}) every {_FITS} ORDER BY id DESC LIMIT :limit) looked
            LEFT JOIN tenants t ON t.id = looked.tenant_id ORDER BY looked.id DESC
        """),  # noqa: S608
        facts,
    )
    jobs = [Found(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for it
    if len(jobs) > limit:
        return Answer(jobs=jobs[:limit], next_before=jobs[limit - 1].id, complete=True)
    last = text(f"SELECT id FROM ({ids}) seen OFFSET CAST(:window AS bigint) - 1")  # noqa: S608
    reached = tx.execute(last, facts).scalar_one_or_none()
    return Answer(jobs=jobs, next_before=reached, complete=reached is None)


def find_id(tx: Connection, wanted: UUID, *, limit: int) -> list[Found]:
    """The job of this id, and those of the parent or batch that has it."""
    rows = tx.execute(_BY_ID, {"id": wanted, "limit": limit})
    return [Found(**row._mapping) for row in rows]  # noqa: SLF001


def first_id_at(time: datetime) -> UUID:
    """The least id of that millisecond, and of all before 1970."""
    return UUID(int=max(0, int(time.timestamp() * 1000)) << 80)


def _looked_at(wanted: Wanted) -> tuple[str, str, int]:
    """The ids of what is looked at, newest first, the same with all that may be asked about, and how many."""
    tenant = "" if wanted.tenant_id is None else "AND tenant_id = :tenant_id"
    own = _OF_ITS_OWN.get(wanted.state) if wanted.state else None
    nameless = wanted.state is State.WAITING and wanted.tenant_id is not None  # it has no tenants
    if own is not None and not nameless:
        place = _PLACE.format(id="job_id", tenant=tenant)
        few = f"SELECT job_id AS id FROM ({own}) own WHERE {place}"  # noqa: S608
        return few, _OF_FEW.format(few=few), FEW_WINDOW
    place = _PLACE.format(id="id", tenant=tenant)
    return (
        f"SELECT id FROM jobs WHERE {place}",  # noqa: S608
        f"SELECT j.id, {_COLUMNS} FROM jobs j WHERE {place}",  # noqa: S608
        WINDOW,
    )
