"""Put work into the ledger, inside the caller's own transaction: it is there if and only if they commit."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from app.db import rows_prepared
from app.errors import Unavailable
from app.ids import new_id
from app.ledger.concurrency import MAX_KEY_CHARS, check_key, kept
from app.ledger.contract import MAX_PRIORITY, JobContract
from app.ledger.prerequisites import Otherwise, Prerequisites, add_edges, stand_before
from app.ledger.state import State
from app.ledger.uniqueness import Debounce, Replacement, UniqueUntil, meet
from app.traces import spans

OUTBOX_CHANNEL = "millrace_outbox"
"""NOTIFY on this channel, with no payload, says that the outbox has something new."""

# What a job is given, and what becomes of it; shared by the two statements below. What is due and has a concurrency key
# is parked, with a word to the dispatcher: its key's own line, and not that of all that comes due.
_FIELDS = """
    id uuid, tenant_id uuid, parent_id uuid, traceparent text, kind text, version int, queue text, payload jsonb, max_attempts int, priority smallint,
    priority_given boolean,
    run_at timestamptz, deadline timestamptz, unique_key text, unique_until text, unique_seconds float,
    debounce_seconds float, debounce_most float, concurrency_key text, concurrency_limit smallint,
    in_order boolean, key_given boolean
"""
_COLUMNS = """
    id, tenant_id, parent_id, traceparent, kind, version, queue, payload, max_attempts, priority,
    priority_given, run_at, deadline, unique_key, unique_until, unique_lapses_at, debounce_until, concurrency_key,
    concurrency_limit, in_order, key_given
"""
_VALUES = """
    id, tenant_id, parent_id, traceparent, kind, version, queue, payload, max_attempts, priority,
    priority_given,
    coalesce(run_at, clock_timestamp() + make_interval(secs => coalesce(debounce_seconds, 0))),
    deadline, unique_key, unique_until, clock_timestamp() + make_interval(secs => unique_seconds),
    clock_timestamp() + make_interval(secs => debounce_most), concurrency_key,
    concurrency_limit, coalesce(in_order, false), coalesce(key_given, false)
"""
_ADDED = """
        ON CONFLICT (tenant_id, kind, unique_key) WHERE unique_key IS NOT NULL DO NOTHING
        RETURNING id, tenant_id, queue, state, run_at, deadline, kind, priority, concurrency_key,
                  concurrency_limit, in_order
    ), timed AS (
        INSERT INTO deadlines (job_id, deadline)
        SELECT id, deadline FROM job WHERE deadline IS NOT NULL
    ), boxed AS (
        INSERT INTO outbox (job_id, tenant_id, queue, run_at, ready, parked, kind, priority,
                            concurrency_key, concurrency_limit, in_order)
        SELECT id, tenant_id, queue, run_at, run_at <= clock_timestamp() AND concurrency_key IS NULL,
               run_at <= clock_timestamp() AND concurrency_key IS NOT NULL, kind, priority,
               concurrency_key, concurrency_limit, in_order
        FROM job WHERE state = 'scheduled'
        RETURNING tenant_id, concurrency_key, parked
    ), woken AS (
        INSERT INTO key_wakes (tenant_id, concurrency_key)
        SELECT DISTINCT tenant_id, concurrency_key FROM boxed WHERE parked
    )
"""
_INSERT = text(f"""
    WITH wanted AS (
        SELECT * FROM jsonb_to_recordset(CAST(:jobs AS jsonb)) AS j({_FIELDS})
    ), job AS (
        INSERT INTO jobs ({_COLUMNS}, state) SELECT {_VALUES}, 'scheduled' FROM wanted
        {_ADDED}, logged AS (
        INSERT INTO job_history (tenant_id, job_id, at, event, to_state, attempt)
        SELECT tenant_id, id, clock_timestamp(), 'enqueue', 'scheduled', 0 FROM job
    )
    SELECT id, pg_notify('millrace_outbox', '') FROM job
""")  # noqa: S608 - constants
# As above, for jobs that may have to wait, or that belong to a batch.
_INSERT_FLOW = text(f"""
    WITH wanted AS (
        SELECT * FROM jsonb_to_recordset(CAST(:jobs AS jsonb)) AS j({_FIELDS},
            state text, batch_id uuid, shard smallint, waits_for int, doom text)
    ), job AS (
        INSERT INTO jobs ({_COLUMNS}, state, batch_id, batch_shard)
        SELECT {_VALUES}, state, batch_id, shard FROM wanted
        {_ADDED}, held AS (
        INSERT INTO waiting (job_id, batch_id, shard, waits_for, doom)
        SELECT id, batch_id, shard, waits_for, doom FROM wanted
        WHERE id IN (SELECT id FROM job WHERE state = 'waiting')
    ), logged AS (
        INSERT INTO job_history (tenant_id, job_id, at, event, to_state, attempt)
        SELECT tenant_id, id, clock_timestamp(),
               CASE state WHEN 'waiting' THEN 'wait' ELSE 'enqueue' END, state, 0
        FROM job
    )
    SELECT id, pg_notify('millrace_outbox', '') FROM job
""")  # noqa: S608 - constants
_TRIES = 100
"""So often a unique key may be lost between two statements; each time another job was made and has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to be. `run_at` in the past or None means now, by the database's clock. No attempt begins
    after `deadline`: a job that is still waiting then is dead.

    At most one job of a kind has a given `unique_key` in a tenant: for as long as that job is kept, or until
    `unique_for` seconds after its making, or in the states that `unique_until` names, whichever is over first.
    With `debounce` the job runs when the posts with that key have come to rest, with the newest payload: until
    it is first dispatched each puts it off; all else, its deadline say, is the first one's.

    It waits until all the jobs `after`, of the same tenant, have ended; `otherwise` says what becomes of
    it when one of them has ended without success. Among the jobs of its tenant and queue those with the
    lowest `priority` go first; None is the kind's own. `concurrency_key` is in the place of the one that the
    contract makes of the payload; where the contract has no limit to it, one job runs at a time.
    """

    job: JobContract
    run_at: datetime | None = None
    deadline: datetime | None = None
    unique_key: str | None = None
    unique_for: float | None = None
    unique_until: UniqueUntil | None = None
    debounce: Debounce | None = None
    after: Sequence[UUID] = ()
    otherwise: Otherwise = Otherwise.DIE
    priority: int | None = None
    concurrency_key: str | None = None

    def __post_init__(self) -> None:
        windows = (self.unique_for, self.unique_until)
        if self.unique_key is None and (*windows, self.debounce) != (None, None, None):
            raise ValueError("unique_for, unique_until and debounce are about a unique_key")
        if self.unique_for is not None and self.unique_for <= 0:
            raise ValueError(f"unique_for is in seconds, and more than 0: {self.unique_for}")
        if self.unique_key is not None:
            check_key("unique_key", self.unique_key)
            if len(self.unique_key) > MAX_KEY_CHARS:
                raise ValueError(f"a unique_key has {MAX_KEY_CHARS} characters at most")
        if self.priority is not None and abs(self.priority) > MAX_PRIORITY:
            raise ValueError(f"a priority is between -{MAX_PRIORITY} and {MAX_PRIORITY}")
        if self.concurrency_key is not None:
            check_key("concurrency_key", self.concurrency_key)
            if self.job.spec.affinity:
                raise ValueError(
                    f"{self.job.spec.kind} has affinity, and with it a key of its own: leave out concurrency_key"
                )
        if self.debounce and (self.run_at or self.after or windows != (None, None)):
            raise ValueError(
                "a debounce says itself when the job runs and how long its key is taken: leave out run_at, "
                "after, unique_for and unique_until"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """For `app.ledger.batches`: the batch that the jobs belong to, and which of its shards is the first
    one's. Where it is `crowded`, they wait until the window has a place for them.
    """

    batch_id: UUID
    shards: int
    first: int
    crowded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedJob:
    """A job that came by itself, and what it comes from; see `enqueue_posted`."""

    tenant_id: UUID
    new: NewJob
    traceparent: str | None = None

    def __post_init__(self) -> None:
        if self.new.after:
            raise ValueError("what waits for other jobs isn't posted with others")


@dataclass(frozen=True, slots=True)
class Enqueued:
    """`created` is False when a job with that unique key was there already; `id` is then that job's."""

    id: UUID
    created: bool


def enqueue(
    tx: Connection,
    tenant_id: UUID,
    job: JobContract,
    *,
    run_at: datetime | None = None,
    deadline: datetime | None = None,
    unique_key: str | None = None,
    unique_for: float | None = None,
    unique_until: UniqueUntil | None = None,
    debounce: Debounce | None = None,
    after: Sequence[UUID] = (),
    otherwise: Otherwise = Otherwise.DIE,
    priority: int | None = None,
    concurrency_key: str | None = None,
    parent_id: UUID | None = None,
    traceparent: str | None = None,
) -> Enqueued:
    """Add one job to the transaction `tx`, with its outbox row unless it has to wait. See NewJob."""
    new = NewJob(
        job=job,
        run_at=run_at,
        deadline=deadline,
        unique_key=unique_key,
        unique_for=unique_for,
        unique_until=unique_until,
        debounce=debounce,
        after=after,
        otherwise=otherwise,
        priority=priority,
        concurrency_key=concurrency_key,
    )
    return enqueue_many(tx, tenant_id, [new], parent_id=parent_id, traceparent=traceparent)[0]


def enqueue_many(
    tx: Connection,
    tenant_id: UUID,
    jobs: Sequence[NewJob],
    *,
    parent_id: UUID | None = None,
    traceparent: str | None = None,
    place: Place | None = None,
) -> list[Enqueued]:
    """Add jobs of one tenant, in one statement where none has to wait; the answers are in the order of
    `jobs`. Raises NotFound for a job that is to be waited for and isn't there.

    Where there is a current span they belong to its trace; elsewhere `traceparent` is what they come from.
    """
    with spans.enqueuing([new.job.spec.kind for new in jobs], traceparent) as given:
        return _add(tx, tenant_id, jobs, _origin(tenant_id, parent_id, given), place)


def enqueue_posted(tx: Connection, posted: Sequence[PostedJob]) -> list[UUID | None]:
    """Add jobs of any tenants by one statement; their ids are in the order of `posted`, with None for a job whose
    unique key is taken, also by one before it. Waits only for transactions that are adding one of the unique keys.
    """
    ids = [new_id() for _ in posted]
    rows = [
        {**_row(job_id, one.new), **_origin(one.tenant_id, None, one.traceparent)}
        for job_id, one in zip(ids, posted, strict=True)
    ]
    created = _insert(tx, _INSERT, rows) if rows else set()
    return [job_id if job_id in created else None for job_id in ids]


def _origin(
    tenant_id: UUID, parent_id: UUID | None, traceparent: str | None
) -> Mapping[str, object]:
    return {
        "tenant_id": str(tenant_id),
        "parent_id": None if parent_id is None else str(parent_id),
        "traceparent": traceparent,
    }


def _add(
    tx: Connection,
    tenant_id: UUID,
    jobs: Sequence[NewJob],
    origin: Mapping[str, object],
    place: Place | None,
) -> list[Enqueued]:
    if place is not None and any(new.debounce for new in jobs):
        raise ValueError("a job that is put off by others can't belong to a batch")
    wanted = {new_id(): new for new in jobs}
    order = list(wanted)
    answers: dict[UUID, Enqueued] = {}
    for _ in range(_TRIES):
        created = _put(tx, tenant_id, wanted, origin, place)
        answers |= {job_id: Enqueued(job_id, True) for job_id in created}
        for job_id in [one for one in wanted if one not in created]:
            held = _meet(tx, tenant_id, wanted[job_id])
            answers |= {} if held is None else {job_id: Enqueued(held, False)}
        wanted = {job_id: new for job_id, new in wanted.items() if job_id not in answers}
        if not wanted:
            return [answers[job_id] for job_id in order]
    raise Unavailable("A unique key went from job to job all the while. Try again.")


def _put(
    tx: Connection,
    tenant_id: UUID,
    jobs: Mapping[UUID, NewJob],
    origin: Mapping[str, object],
    place: Place | None,
) -> set[UUID]:
    """Those whose unique key was free are added; which."""
    rows = [{**_row(job_id, new), **origin} for job_id, new in jobs.items()]
    awaited = {on_id for new in jobs.values() for on_id in new.after}
    if not awaited and place is None:
        return _insert(tx, _INSERT, rows)
    states = stand_before(tx, tenant_id, awaited)
    befores = [Prerequisites.of(states, new.after, new.otherwise) for new in jobs.values()]
    rows = [
        {**row, **_standing(number, before, place)}
        for number, (row, before) in enumerate(zip(rows, befores, strict=True))
    ]
    created = _insert(tx, _INSERT_FLOW, rows)
    add_edges(tx, tenant_id, {i: b for i, b in zip(jobs, befores, strict=True) if i in created})
    return created


def _insert(
    tx: Connection,
    statement: TextClause,
    rows: Sequence[Mapping[str, object]],
) -> set[UUID]:
    return {row.id for row in rows_prepared(tx, statement, {"jobs": json.dumps(rows)})}


def _standing(number: int, before: Prerequisites, place: Place | None) -> dict[str, object]:
    """Where the job begins; `number` is its place among those that are added with it."""
    crowded = place is not None and place.crowded
    return {
        "state": State.WAITING if crowded else before.begins,
        "batch_id": None if place is None else str(place.batch_id),
        "shard": None if place is None else (place.first + number) % place.shards,
        "waits_for": before.waits_for,
        "doom": before.doom,
    }


def _row(job_id: UUID, new: NewJob) -> dict[str, object]:
    spec = new.job.spec
    return {
        "id": str(job_id),
        "kind": spec.kind,
        "version": spec.version,
        "queue": spec.queue.value,
        "payload": new.job.model_dump(mode="json"),
        "max_attempts": spec.retry.attempts,
        "priority": spec.priority if new.priority is None else new.priority,
        "priority_given": new.priority is not None,
        "run_at": new.run_at.isoformat() if new.run_at else None,
        "deadline": new.deadline.isoformat() if new.deadline else None,
        "unique_key": new.unique_key,
        **_window(new),
        **concurrency_facts(new.job, new.concurrency_key),
    }


def _window(new: NewJob) -> dict[str, object]:
    if new.debounce is not None:
        return {
            "unique_until": UniqueUntil.PUBLISHED,
            "debounce_seconds": new.debounce.seconds,
            "debounce_most": new.debounce.most,
        }
    return {"unique_until": new.unique_until, "unique_seconds": new.unique_for}


def concurrency_facts(job: JobContract, key: str | None = None) -> dict[str, object]:
    """What the ledger keeps of the job's concurrency, with `key` in the place of the contract's own; nothing
    for a job without one.
    """
    declared, is_given = job.spec.concurrency, key is not None
    if key is None and declared is not None:
        key = declared.key_of(job.spec.kind, job)
    if key is None:
        return {}
    return {
        "concurrency_key": kept(key),
        "concurrency_limit": 1 if declared is None else declared.limit,
        "in_order": declared is not None and declared.in_order,
        "key_given": is_given,
    }


def _meet(tx: Connection, tenant_id: UUID, new: NewJob) -> UUID | None:
    """The job that has the unique key, with this one's payload where that is what is wanted; None when it
    is free by now. The conflict waited for the other's transaction, so it is visible.
    """
    key, spec = new.unique_key, new.job.spec
    if key is None:
        raise AssertionError("only a unique key can be in the way of a job")
    replacement = None
    if new.debounce is not None:
        replacement = Replacement(
            payload=new.job.model_dump_json(),
            version=spec.version,
            seconds=new.debounce.seconds,
            concurrency=concurrency_facts(new.job, new.concurrency_key),
        )
    return meet(tx, tenant_id, spec.kind, key, replacement)
