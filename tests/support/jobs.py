"""Jobs that exist in tests alone, one per queue, and what the ledger holds about a job."""

from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, text

from app.broker.topology import Queue
from app.ledger.concurrency import Concurrency
from app.ledger.contract import JobContract, JobSpec
from app.ledger.enqueue import enqueue
from app.ledger.outbox import mark_queued
from app.ledger.retry import RetryPolicy
from app.ledger.state import TRANSITIONS, Event, State
from app.ledger.store import Claimed, claim


class Note(JobContract):
    """On the default queue; three attempts, one second apart at first, without dice."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="test.note", retry=RetryPolicy(attempts=3, base_seconds=1, jitter=False)
    )

    text: str = ""


class UrgentNote(JobContract):
    spec: ClassVar[JobSpec] = JobSpec(kind="test.urgent", queue=Queue.HIGH)


class LazyNote(JobContract):
    spec: ClassVar[JobSpec] = JobSpec(kind="test.lazy", queue=Queue.LOW)


class SmallNote(JobContract):
    """Three of them travel in one message."""

    spec: ClassVar[JobSpec] = JobSpec(kind="test.small", together=3)


class KeyedNote(JobContract):
    """One of an account's at a time."""

    spec: ClassVar[JobSpec] = JobSpec(kind="test.keyed", concurrency=Concurrency(key="account"))

    account: str | None = None


class PairedNote(JobContract):
    """Two of an account's at a time, with the key of the accounts of other kinds."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="test.paired",
        concurrency=Concurrency(key=lambda job: f"account {job.account}", limit=2),
    )

    account: str


class OrderedNote(JobContract):
    """An account's one after the other."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="test.ordered",
        retry=RetryPolicy(attempts=3, base_seconds=1, jitter=False),
        concurrency=Concurrency(key="account", in_order=True),
    )

    account: str


KEYED: tuple[type[JobContract], ...] = (KeyedNote, PairedNote, OrderedNote)


@dataclass(frozen=True, slots=True)
class Facts:
    """The row of a job."""

    state: str
    attempt: int
    max_attempts: int
    error: dict[str, Any] | None
    unique_key: str | None
    parent_id: UUID | None
    wait_seconds: float
    lease_seconds: float | None
    progress_done: int | None
    outbox: bool


_FACTS = text("""
    SELECT state, attempt, max_attempts, error, unique_key, parent_id,
           extract(epoch FROM run_at - clock_timestamp())::float AS wait_seconds,
           extract(epoch FROM lease_until - clock_timestamp())::float AS lease_seconds,
           progress_done,
           EXISTS (SELECT FROM outbox WHERE job_id = jobs.id AND outbox.run_at = jobs.run_at) AS outbox
    FROM jobs WHERE id = :id
""")


_LETTERS = text("""
    SELECT d.*, i.count AS deaths, i.kind AS incident_kind, i.state AS incident_state
    FROM dead_letters d JOIN incidents i ON i.id = d.incident_id
    WHERE d.job_id IS NOT DISTINCT FROM CAST(:job_id AS uuid) ORDER BY d.created_at
""")
_BACKDATE = [
    text(
        f"UPDATE {table} SET {column} = {column} - make_interval(secs => :seconds) WHERE {key} = :id"  # noqa: S608 - constants
    )
    for table, column, key in (
        ("jobs", "lease_until", "id"),
        ("jobs", "queued_at", "id"),
        ("jobs", "deadline", "id"),
        ("in_flight", "queued_at", "job_id"),
        ("deadlines", "deadline", "job_id"),
        ("outbox", "run_at", "job_id"),
    )
]
_OUT_OF_PLACE = text("""
    SELECT id, state FROM jobs
    WHERE (state IN ('queued', 'running')) <> (id IN (SELECT job_id FROM in_flight))
       OR (state = 'scheduled') <> (id IN (SELECT job_id FROM outbox))
       OR (state = 'waiting') <> (id IN (SELECT job_id FROM waiting))
    UNION ALL SELECT job_id, 'no job' FROM in_flight WHERE job_id NOT IN (SELECT id FROM jobs)
    UNION ALL SELECT job_id, 'no job' FROM outbox WHERE job_id NOT IN (SELECT id FROM jobs)
    UNION ALL SELECT job_id, 'no job' FROM waiting WHERE job_id NOT IN (SELECT id FROM jobs)
""")


_OVERBOOKED = text("""
    WITH holder AS (
        SELECT tenant_id, concurrency_key, job_id FROM outbox WHERE ready
        UNION ALL SELECT tenant_id, concurrency_key, job_id FROM in_flight
    )
    SELECT h.concurrency_key, count(*), min(j.concurrency_limit)
    FROM holder h JOIN jobs j ON j.id = h.job_id WHERE h.concurrency_key IS NOT NULL
    GROUP BY h.tenant_id, h.concurrency_key HAVING count(*) > min(j.concurrency_limit)
    UNION ALL
    SELECT 'out of order', 1, 0 FROM holder h JOIN jobs j ON j.id = h.job_id
    WHERE j.in_order AND EXISTS (
        SELECT FROM jobs earlier
        WHERE (earlier.tenant_id, earlier.concurrency_key) = (j.tenant_id, j.concurrency_key)
          AND earlier.created_at < j.created_at AND earlier.in_order
          AND earlier.state NOT IN ('succeeded', 'dead', 'cancelled')
          AND NOT EXISTS (SELECT FROM job_history h WHERE h.job_id = earlier.id AND h.event = 'replay'))
    UNION ALL
    SELECT 'not in line', 1, 0 FROM jobs j
    WHERE (j.in_order AND j.state NOT IN ('succeeded', 'dead', 'cancelled'))
          <> (j.id IN (SELECT job_id FROM key_lines))
""")
# Once a dispatcher has looked: nobody waits for a place that there is.
_FORGOTTEN = text("""
    SELECT o.job_id FROM outbox o
    WHERE o.parked
      AND (SELECT count(*) FROM (SELECT FROM outbox h WHERE h.ready AND h.tenant_id = o.tenant_id
                                   AND h.concurrency_key = o.concurrency_key
                                 UNION ALL
                                 SELECT FROM in_flight h WHERE h.tenant_id = o.tenant_id
                                   AND h.concurrency_key = o.concurrency_key) holder)
          < o.concurrency_limit
      AND (NOT o.in_order
           OR o.job_id = (SELECT l.job_id FROM key_lines l
                          WHERE (l.tenant_id, l.concurrency_key) = (o.tenant_id, o.concurrency_key)
                          ORDER BY l.made_at, l.job_id LIMIT 1))
""")


def assert_keys_are_kept(engine: Engine) -> None:
    """No key has more holders than it allows, and what runs in order does."""
    with engine.connect() as tx:
        assert tx.execute(_OVERBOOKED).all() == []


def assert_nobody_is_forgotten(engine: Engine) -> None:
    """Once a dispatcher has had a round: none is parked that its key would let in."""
    with engine.connect() as tx:
        assert tx.execute(_FORGOTTEN).all() == []


def job_facts(engine: Engine, job_id: UUID) -> Facts:
    with engine.connect() as tx:
        return Facts(**tx.execute(_FACTS, {"id": job_id}).one()._mapping)


def events(engine: Engine, job_id: UUID) -> list[str]:
    """The job's history, as the names of its events."""
    with engine.connect() as tx:
        query = text("SELECT event FROM job_history WHERE job_id = :id ORDER BY id")
        return list(tx.execute(query, {"id": job_id}).scalars())


def last_cause(engine: Engine, job_id: UUID, event: str) -> str | None:
    """The code in the newest such line of the job's history."""
    with engine.connect() as tx:
        query = text("""
            SELECT detail->>'code' FROM job_history WHERE job_id = :id AND event = :event
            ORDER BY id DESC LIMIT 1
        """)
        code: str | None = tx.execute(query, {"id": job_id, "event": event}).scalar_one()
        return code


def children(engine: Engine, job_id: UUID) -> list[str]:
    """The kinds of the jobs that this one enqueued."""
    with engine.connect() as tx:
        query = text("SELECT kind FROM jobs WHERE parent_id = :id ORDER BY id")
        return list(tx.execute(query, {"id": job_id}).scalars())


def count(engine: Engine, table: str) -> int:
    with engine.connect() as tx:
        number: int = tx.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()  # noqa: S608
        return number


def jobs_of(engine: Engine, contract: type[JobContract]) -> set[UUID]:
    """All jobs of the kind."""
    with engine.connect() as tx:
        query = text("SELECT id FROM jobs WHERE kind = :kind")
        return set(tx.execute(query, {"kind": contract.spec.kind}).scalars())


def add(engine: Engine, tenant_id: UUID, job: JobContract) -> UUID:
    with engine.begin() as tx:
        return enqueue(tx, tenant_id, job).id


def add_queued(engine: Engine, tenant_id: UUID, job: JobContract) -> UUID:
    """As if the dispatcher had published it; one that is running doesn't see it before that."""
    with engine.begin() as tx:
        job_id = enqueue(tx, tenant_id, job).id
        mark_queued(tx, [job_id])
    return job_id


def put_off(engine: Engine, job_id: UUID) -> None:
    """Have a job that is waiting for its time wait on, so that a slow machine's doesn't come."""
    with engine.begin() as tx:
        done = tx.execute(
            text("UPDATE outbox SET run_at = run_at + interval '1 hour' WHERE job_id = :id"),
            {"id": job_id},
        )
    assert done.rowcount == 1


def requeue(engine: Engine, job_id: UUID) -> None:
    """Dispatch a job that is waiting for its time, now."""
    with engine.begin() as tx:
        tx.execute(
            text("UPDATE outbox SET run_at = clock_timestamp() WHERE job_id = :id"), {"id": job_id}
        )
        mark_queued(tx, [job_id])


def claim_now(
    tx: Connection, job_id: UUID, *, redelivered: bool = False, lease_seconds: float = 60
) -> Claimed | None:
    sent = tx.execute(
        text("SELECT attempt FROM in_flight WHERE job_id = :job_id"), {"job_id": job_id}
    ).scalar_one_or_none()
    return claim(
        tx,
        job_id,
        worker="test@here",
        lease_seconds=lease_seconds,
        redelivered=redelivered,
        message_attempt=sent or 0,
    )


def lose_worker(engine: Engine, job_id: UUID) -> None:
    """As if the worker of a job that has just ended had been lost before it could say so: the job is
    running again, and the next delivery of its message takes it over.
    """
    with engine.begin() as tx:
        tx.execute(
            text("""
                WITH moved AS (
                    UPDATE jobs SET state = 'running', finished_at = NULL, lease_until = now()
                    WHERE id = :id RETURNING *
                )
                INSERT INTO in_flight (job_id, tenant_id, queue, kind, attempt, queued_at, concurrency_key)
                SELECT id, tenant_id, queue, kind, attempt, now(), concurrency_key FROM moved
            """),
            {"id": job_id},
        )


def running(engine: Engine, tenant_id: UUID, job: JobContract) -> Claimed:
    """A job in its first attempt."""
    job_id = add_queued(engine, tenant_id, job)
    with engine.begin() as tx:
        claimed = claim_now(tx, job_id)
    assert claimed is not None
    return claimed


def letters(engine: Engine, job_id: UUID | None = None) -> list[Row[Any]]:
    """The dead letters of a job, or of messages that belong to none, with their incidents' number of `deaths`."""
    with engine.connect() as tx:
        return list(tx.execute(_LETTERS, {"job_id": job_id}))


def backdate(engine: Engine, job_id: UUID, *, seconds: float) -> None:
    """As if everything about the job had happened earlier by so much: its lease, its time in the queue."""
    with engine.begin() as tx:
        for statement in _BACKDATE:
            tx.execute(statement, {"id": job_id, "seconds": seconds})


def assert_in_its_place(engine: Engine) -> None:
    """Every job that is queued or running is in flight, every scheduled one in the outbox, every waiting
    one among those that wait; no other.
    """
    with engine.connect() as tx:
        wrong = tx.execute(_OUT_OF_PLACE).all()
    assert wrong == []


def assert_lawful(engine: Engine) -> int:
    """Every job's history is a path of the transition table, from enqueue to where it stands.

    Returns how many jobs there are.
    """
    query = text("""
        SELECT j.id, j.state, h.event, h.from_state, h.to_state, h.attempt
        FROM jobs j LEFT JOIN job_history h ON h.job_id = j.id ORDER BY j.id, h.id
    """)
    ends: dict[UUID, tuple[str, str]] = {}
    previous: dict[UUID, tuple[str, int]] = {}
    with engine.connect() as tx:
        for row in tx.execute(query):
            move = TRANSITIONS[Event(row.event)]
            state, attempt = previous.get(row.id, (None, 0))
            assert row.from_state == state, f"{row.id}: a gap in the history at {row.event}"
            assert move.sources == frozenset() or State(row.from_state) in move.sources
            assert move.target == row.to_state
            assert row.attempt == attempt + (row.event in {Event.CLAIM, Event.TAKE_OVER})
            previous[row.id] = (row.to_state, row.attempt)
            ends[row.id] = (row.to_state, row.state)
    for job_id, (last, state) in ends.items():
        assert last == state, f"{job_id} is {state}, its history ends in {last}"
    return len(ends)
