"""Replay and discard: what becomes of dead jobs, chosen by a filter, tried out before it is done."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import InterfaceError, OperationalError

from app.errors import Conflict
from app.ledger.aftermath import Aftermaths, Subject, follow_revival
from app.ledger.cancel import be_patient, hasten, missing
from app.ledger.contract import Catalog, UnreadablePayload
from app.ledger.doomed import PREREQUISITE_FAILED
from app.ledger.ending import stand_still
from app.ledger.enqueue import concurrency_facts
from app.ledger.job_error import printable
from app.ledger.state import State

log = structlog.get_logger()

MAX_JOBS = 10_000
"""The most that one call replays or discards; the answer says whether there are more."""

FITS = """
      AND (CAST(:incident_id AS uuid) IS NULL OR d.incident_id = :incident_id)
      AND (CAST(:kind AS text) IS NULL OR d.kind = :kind)
      AND (CAST(:queue AS text) IS NULL OR d.queue = :queue)
      AND (CAST(:code AS text) IS NULL OR d.code = :code)
      AND (CAST(:died_after AS timestamptz) IS NULL OR d.last_failed_at >= :died_after)
      AND (CAST(:died_before AS timestamptz) IS NULL OR d.last_failed_at < :died_before)
"""
_CHOSEN = f"""
    FROM dead_letters d JOIN jobs j ON j.id = d.job_id
    WHERE j.state = 'dead'
      AND d.state <> 'replayed'
      AND (CAST(:tenant_id AS uuid) IS NULL OR d.tenant_id = :tenant_id)
      AND (CAST(:job_ids AS uuid[]) IS NULL OR d.job_id = ANY(CAST(:job_ids AS uuid[])))
      {FITS}
"""
_SELECT = f"""
    SELECT j.id, j.tenant_id, j.kind, j.version, j.payload, j.traceparent, j.attempt, j.batch_id,
           CASE WHEN j.key_given THEN j.concurrency_key END AS given_key,
           CASE WHEN j.priority_given THEN j.priority END AS given_priority,
           (SELECT w.on_id FROM job_waits w
            WHERE w.job_id = j.id AND w.ended = 'dead' AND w.otherwise <> 'run'
            LIMIT 1) AS waits_in_vain
    {_CHOSEN}
      AND (CAST(:after AS uuid) IS NULL OR j.id > :after)
"""  # noqa: S608
_FIRST = "ORDER BY j.id LIMIT :limit"
_OPEN = "AND d.state = 'open'"  # in these words the index is of use
_BY_ID = "AND d.state IN ('open', 'discarded')"
_LOCKED = "FOR NO KEY UPDATE OF j SKIP LOCKED"
_LOOK = text(f"{_SELECT} {_OPEN} {_FIRST}")
_LOOK_BY_ID = text(f"{_SELECT} {_BY_ID} {_FIRST}")
_LOCK = text(f"{_SELECT} {_OPEN} {_FIRST} {_LOCKED}")
_LOCK_BY_ID = text(f"{_SELECT} {_BY_ID} {_FIRST} {_LOCKED}")
_OWN = text("""
    SELECT FROM jobs
    WHERE id = :job_id AND (CAST(:tenant_id AS uuid) IS NULL OR tenant_id = :tenant_id)
""")
# Of all of them before the first job moves, in the order in which everybody takes them.
_LOCK_SHARDS = text("""
    SELECT FROM batch_shards WHERE batch_id = ANY(:batch_ids)
    ORDER BY batch_id, shard FOR NO KEY UPDATE
""")
# The deadline goes with its reminder, which would end the job again.
_REPLAY = text("""
    WITH wanted AS (
        SELECT * FROM jsonb_to_recordset(CAST(:jobs AS jsonb)) AS j(
            id uuid, version int, payload jsonb, queue text, priority smallint, tries int, delay float,
            concurrency_key text, concurrency_limit smallint, in_order boolean, key_given boolean)
    ), moved AS (
        UPDATE jobs
        SET state = 'scheduled', version = wanted.version, payload = wanted.payload,
            queue = wanted.queue, priority = wanted.priority,
            concurrency_key = wanted.concurrency_key,
            concurrency_limit = wanted.concurrency_limit,
            in_order = coalesce(wanted.in_order, false),
            key_given = coalesce(wanted.key_given, false),
            max_attempts = jobs.attempt + wanted.tries, error = NULL, finished_at = NULL,
            deadline = NULL,
            run_at = clock_timestamp() + make_interval(secs => wanted.delay)
        FROM wanted WHERE jobs.id = wanted.id AND jobs.state = 'dead'
        RETURNING jobs.id, jobs.tenant_id, jobs.queue, jobs.run_at, jobs.attempt
    ), boxed AS (
        INSERT INTO outbox (job_id, tenant_id, queue, run_at)
        SELECT id, tenant_id, queue, run_at FROM moved
    ), logged AS (
        INSERT INTO job_history (tenant_id, job_id, at, event, from_state, to_state, attempt, detail)
        SELECT tenant_id, id, clock_timestamp(), 'replay', 'dead', 'scheduled', attempt,
               jsonb_build_object('code', 'replayed', 'message', CAST(:reason AS text))
        FROM moved
    ), closed AS (
        UPDATE dead_letters SET state = 'replayed', closed_at = clock_timestamp(),
                                closed_reason = :reason
        FROM moved WHERE dead_letters.job_id = moved.id AND dead_letters.state <> 'replayed'
    ), undone AS (
        DELETE FROM effects USING moved
        WHERE effects.job_id = moved.id AND effects.done_at IS NULL
    ), untimed AS (
        DELETE FROM deadlines USING moved WHERE deadlines.job_id = moved.id
    )
    SELECT id, pg_notify('millrace_outbox', '') FROM moved
""")
# Both rows are locked, the job against a replay and the letter against another discard.
_TO_DISCARD = f"""
    SELECT d.id, j.id AS job_id, j.tenant_id, j.attempt
    {_CHOSEN} {_OPEN} {_FIRST}
"""
_DISCARD = text(f"""
    WITH chosen AS MATERIALIZED (
        {_TO_DISCARD} FOR NO KEY UPDATE OF j, d SKIP LOCKED
    ), closed AS (
        UPDATE dead_letters SET state = 'discarded', closed_at = clock_timestamp(),
                                closed_reason = :reason
        FROM chosen WHERE dead_letters.id = chosen.id
    ), logged AS (
        INSERT INTO job_history (tenant_id, job_id, at, event, from_state, to_state, attempt, detail)
        SELECT tenant_id, job_id, clock_timestamp(), 'discard', 'dead', 'dead', attempt,
               jsonb_build_object('code', 'discarded', 'message', CAST(:reason AS text))
        FROM chosen
    )
    SELECT count(*) FROM chosen
""")  # noqa: S608 - constants
_COUNT_DISCARD = text(f"SELECT count(*) FROM ({_TO_DISCARD}) chosen")  # noqa: S608
_STRAYS = f"""
    SELECT d.id FROM dead_letters d
    WHERE d.job_id IS NULL AND d.state = 'open' {FITS} LIMIT :limit
"""  # noqa: S608
_DISCARD_STRAYS = text(f"""
    WITH chosen AS MATERIALIZED ({_STRAYS} FOR UPDATE SKIP LOCKED), closed AS (
        UPDATE dead_letters SET state = 'discarded', closed_at = clock_timestamp(),
                                closed_reason = :reason
        FROM chosen WHERE dead_letters.id = chosen.id
    )
    SELECT count(*) FROM chosen
""")  # noqa: S608
_COUNT_STRAYS = text(f"SELECT count(*) FROM ({_STRAYS}) chosen")  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadFilter:
    """Which dead jobs: all that fit every part which is given. Discarded ones only by their own id."""

    tenant_id: UUID | None = None
    job_ids: Sequence[UUID] | None = None
    incident_id: UUID | None = None
    kind: str | None = None
    queue: str | None = None
    code: str | None = None
    died_after: datetime | None = None
    died_before: datetime | None = None

    def parameters(self) -> dict[str, object]:
        """As the statements take them."""
        return {
            "tenant_id": self.tenant_id,
            "job_ids": None if self.job_ids is None else list(self.job_ids),
            "incident_id": self.incident_id,
            "kind": self.kind,
            "queue": self.queue,
            "code": self.code,
            "died_after": self.died_after,
            "died_before": self.died_before,
        }

    @property
    def reaches_strays(self) -> bool:
        """Whether messages that belong to no job, and so to no tenant, may fit."""
        return self.tenant_id is None and self.job_ids is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A job that can't run again as things are, and why."""

    job_id: UUID
    reason: str


@dataclass(slots=True, kw_only=True)
class Replayed:
    """What was, or in a dry run would be, replayed. The last job begins after `seconds`; `more` says
    that others fit the filter, after the job `last`.
    """

    job_ids: list[UUID] = field(default_factory=list)
    by_kind: Counter[str] = field(default_factory=Counter)
    upcast: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    seconds: float = 0.0
    more: bool = False
    last: UUID | None = None


@dataclass(frozen=True, slots=True)
class Discarded:
    """How many dead letters were, or in a dry run would be, closed; `more` says that others may fit."""

    number: int
    more: bool


def replay(
    tx: Connection,
    catalog: Catalog,
    aftermaths: Aftermaths,
    chosen: DeadFilter,
    *,
    reason: str,
    rate: float | None = None,
    dry_run: bool = False,
    limit: int = MAX_JOBS,
    after: UUID | None = None,
    delay: float = 0.0,
) -> Replayed:
    """Put dead jobs back into the outbox with a full set of attempts and no deadline, at most `rate`
    of them a second, the first after `delay`. They are the contract's as it is now: its version, queue, priority,
    attempts and concurrency, but a priority or a concurrency key that was given for the job stays. Effects that are known to have happened stay known. `after` goes on where another call ended.

    A dry run changes nothing and takes no locks.
    """
    statement = _LOOK if dry_run else _LOCK
    if chosen.job_ids is not None:
        statement = _LOOK_BY_ID if dry_run else _LOCK_BY_ID
    rows = tx.execute(statement, {**chosen.parameters(), "limit": limit + 1, "after": after}).all()
    answer = Replayed(more=len(rows) > limit, last=rows[:limit][-1].id if rows else None)
    wanted: list[dict[str, Any]] = []
    for row in rows[:limit]:
        try:
            facts = _revive(tx, catalog, aftermaths, row, dry_run=dry_run)
        except UnreadablePayload as unreadable:
            answer.skipped.append(Skipped(job_id=row.id, reason=str(unreadable)))
            continue
        answer.seconds = delay + (len(wanted) / rate if rate else 0.0)
        wanted.append({**facts, "delay": answer.seconds})
        answer.job_ids.append(row.id)
        answer.by_kind[row.kind] += 1
        answer.upcast += facts["version"] != row.version
    batch_ids = {row.batch_id for row in rows[:limit] if row.batch_id is not None}
    if batch_ids and not dry_run:
        tx.execute(_LOCK_SHARDS, {"batch_ids": list(batch_ids)})
    if wanted and not dry_run:
        tx.execute(_REPLAY, {"jobs": json.dumps(wanted), "reason": printable(reason)})
    return answer


def retry_job(
    tx: Connection,
    catalog: Catalog,
    aftermaths: Aftermaths,
    tenant_id: UUID | None,
    job_id: UUID,
    *,
    reason: str,
) -> None:
    """Have a dead job run again, or one that waits for its time begin now. `tenant_id` None is any
    tenant's. Raises NotFound, and Conflict with the cause when the job can't be retried.
    """
    be_patient(tx)
    own = tx.execute(_OWN, {"job_id": job_id, "tenant_id": tenant_id}).one_or_none()
    job = None if own is None else stand_still(tx, job_id)
    if job is None:
        raise missing(job_id)
    if job.state is State.SCHEDULED:
        hasten(tx, job_id)
        return
    if job.state is not State.DEAD:
        raise Conflict(
            f"Job {job_id} is {job.state}; only a dead job, or one that waits for its time, can be "
            "retried."
        )
    answer = replay(tx, catalog, aftermaths, DeadFilter(job_ids=[job_id]), reason=reason)
    for skipped in answer.skipped:
        raise Conflict(f"Job {job_id} can't run again: {skipped.reason}", code="unreadable_job")
    if not answer.job_ids:
        raise Conflict(f"Job {job_id} has no dead letter to replay it from.")


def discard(
    tx: Connection,
    chosen: DeadFilter,
    *,
    reason: str,
    dry_run: bool = False,
    limit: int = MAX_JOBS,
) -> Discarded:
    """Close dead letters for good; the jobs stay dead, and their history says why. Messages that
    belong to no job are closed too, unless the filter names tenants or jobs.

    A dry run changes nothing and takes no locks.
    """
    facts = {**chosen.parameters(), "limit": limit, "reason": printable(reason)}
    number: int = tx.execute(_COUNT_DISCARD if dry_run else _DISCARD, facts).scalar_one()
    more = number == limit
    if chosen.reaches_strays:
        strays: int = tx.execute(_COUNT_STRAYS if dry_run else _DISCARD_STRAYS, facts).scalar_one()
        number, more = number + strays, more or strays == limit
    return Discarded(number, more)


def _revive(
    tx: Connection, catalog: Catalog, aftermaths: Aftermaths, row: Row[Any], *, dry_run: bool
) -> dict[str, Any]:
    """The job as it will run; raises UnreadablePayload when it can't."""
    if row.waits_in_vain is not None:
        raise UnreadablePayload(
            f"It waits for job {row.waits_in_vain}, which is dead: replay that, and it follows.",
            code=PREREQUISITE_FAILED,
        )
    contract = catalog.get(row.kind)
    if contract is None:
        raise UnreadablePayload(f"There is no kind {row.kind!r} any more.", code="unknown_kind")
    try:
        job = contract.read(row.version, row.payload)
        payload = job.model_dump(mode="json")
        key = None if contract.spec.affinity else row.given_key
        concurrency = concurrency_facts(job, key)
        subject = Subject(
            id=row.id,
            tenant_id=row.tenant_id,
            kind=row.kind,
            version=contract.spec.version,
            payload=payload,
            traceparent=row.traceparent,
        )
        if row.kind in aftermaths and not dry_run:
            with tx.begin_nested():
                follow_revival(tx, aftermaths, subject)
    except (UnreadablePayload, OperationalError, InterfaceError):
        raise
    except Exception as fault:  # one kind's upcast or aftermath must not keep the others dead
        log.exception("replay.failed", job_id=str(row.id), kind=row.kind)
        raise UnreadablePayload(
            f"Making it ready failed with {type(fault).__name__}.", code="not_revivable"
        ) from fault
    return {
        "id": str(row.id),
        "version": contract.spec.version,
        "payload": payload,
        "queue": contract.spec.queue.value,
        "priority": contract.spec.priority if row.given_priority is None else row.given_priority,
        "tries": contract.spec.retry.attempts,
        **concurrency,
    }
