"""Jobs that nobody will bring any further, put back into the outbox. Small batches; rows that somebody
holds are skipped, so that any number of rescuers may run.

It is due since when it was before: its turn had come already, and it doesn't go to the end of its tenant's line.

A rescue that was not needed does no harm: the claim makes a second message harmless, and an attempt
that lost its job can't commit.
"""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from app.ledger.put_off import DATABASE_AWAY

_PUT_BACK = """
    , moved AS (
        UPDATE jobs SET state = 'scheduled', lease_until = NULL, max_attempts = max_attempts + {free}
        FROM stuck WHERE jobs.id = stuck.id
        RETURNING jobs.id, jobs.tenant_id, jobs.queue, jobs.run_at, jobs.attempt, stuck.state,
                  stuck.worker
    ), landed AS (
        DELETE FROM in_flight USING moved WHERE in_flight.job_id = moved.id
    ), boxed AS (
        INSERT INTO outbox (job_id, tenant_id, queue, run_at)
        SELECT id, tenant_id, queue, run_at FROM moved
    ), logged AS (
        INSERT INTO job_history
            (tenant_id, job_id, at, event, from_state, to_state, attempt, worker, detail)
        SELECT tenant_id, id, clock_timestamp(), 'rescue', state, 'scheduled', attempt, worker,
               jsonb_build_object('code', CAST(:code AS text), 'message', CAST(:message AS text))
        FROM moved
    )
    SELECT id, pg_notify('millrace_outbox', '') FROM moved
"""


def _put_back(stuck: str, *, free: str = "0") -> TextClause:
    """A statement that finds the rows of `stuck` and returns them to the outbox; `free` is 1 where the attempt cost
    none.
    """
    return text(stuck + _PUT_BACK.format(free=free))


_EXPIRED_LEASES = _put_back("""
    WITH stuck AS (
        SELECT j.id, j.state, j.worker
        FROM in_flight f JOIN jobs j ON j.id = f.job_id
        WHERE j.state = 'running' AND j.lease_until < clock_timestamp()
        ORDER BY j.lease_until LIMIT :limit
        FOR NO KEY UPDATE OF j SKIP LOCKED
    )
""")
# The queues are first in, first out: a job is overtaken when one that was queued well after it runs. What
# is asked of the locked row is asked again when it has changed; of a row that is joined to it, it isn't.
# Only a job that was sent once says where the queue's front is: of one that was sent again an older message
# may be the one that runs, and then each rescue would make all that wait look overtaken.
# Jobs of the kinds that are `apart` may be in a shard: they say nothing of the queue's own front, and their message is
# gone only where, since it was sent, every shard has been passed as well.
_UNHEARD = _put_back("""
    WITH front AS (
        SELECT max(f.queued_at) AS at FROM in_flight f JOIN jobs j ON j.id = f.job_id
        WHERE f.queue = :queue AND j.state = 'running' AND j.attempt = 1
          AND f.kind <> ALL(CAST(:apart AS text[]))
          AND NOT EXISTS (SELECT FROM job_history h
                          WHERE h.job_id = j.id AND h.event IN ('rescue', 'replay'))
    ), stuck AS (
        SELECT j.id, j.state, j.worker
        FROM in_flight f JOIN jobs j ON j.id = f.job_id
        WHERE f.queue = :queue AND j.state = 'queued'
          AND j.queued_at < clock_timestamp() - make_interval(secs => :seconds)
          AND (:empty
               OR j.queued_at < (SELECT at FROM front) - make_interval(secs => :seconds))
          AND (f.kind <> ALL(CAST(:apart AS text[]))
               OR j.queued_at < CAST(:passed AS timestamptz))
        ORDER BY f.queued_at LIMIT :limit
        FOR NO KEY UPDATE OF j SKIP LOCKED
    )
""")
_QUEUED = _put_back("""
    WITH stuck AS (
        SELECT id, state, worker FROM jobs WHERE id = :job_id AND state = 'queued'
        FOR NO KEY UPDATE
    )
""")
_UNSTARTED = _put_back("""
    WITH stuck AS (
        SELECT id, state, worker FROM jobs WHERE id = ANY(:ids) AND state = 'queued'
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    )
""")
# Behind one that is running, in a message that comes back: that one may have been its worker's end.
_BYSTANDERS = _put_back("""
    WITH stuck AS (
        SELECT id, state, worker FROM jobs WHERE id = ANY(:ids) AND state = 'queued'
          AND EXISTS (SELECT FROM jobs begun WHERE begun.id = ANY(:ids) AND begun.state = 'running')
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    )
""")
# Not waiting for the row: its holder may be the very attempt, waiting for what the evictor holds.
_SILENT = _put_back("""
    WITH stuck AS (
        SELECT id, state, worker FROM jobs
        WHERE id = :job_id AND attempt = :attempt
          AND state = 'running' AND lease_until < clock_timestamp()
        FOR NO KEY UPDATE SKIP LOCKED
    )
""")
_OF_WORKER = """
    WITH stuck AS (
        SELECT id, state, worker FROM jobs
        WHERE id = ANY(:ids) AND state = 'running' AND worker = :worker
        FOR NO KEY UPDATE SKIP LOCKED
    )
"""
_ABANDONED = _put_back(_OF_WORKER)
# As app.ledger.put_off has it: not where the attempt before this one ended so as well.
_HINDERED = _put_back(
    _OF_WORKER,
    free="""(NOT EXISTS (
        SELECT FROM job_history h
        WHERE h.job_id = jobs.id AND h.attempt = jobs.attempt - 1
          AND h.event IN ('snooze', 'rescue') AND h.detail->>'code' = :code))::int""",
)
# Attempts begin at 1.
_WITHOUT_MESSAGE = text("""
    UPDATE in_flight SET attempt = 0 FROM jobs
    WHERE jobs.id = in_flight.job_id AND jobs.id = ANY(:ids)
      AND jobs.state = 'running' AND jobs.worker = :worker
""")
_RESCUED = text("""
    SELECT count(*) FROM job_history
    WHERE job_id = :job_id AND event = 'rescue'
      AND id > (SELECT coalesce(max(id), 0) FROM job_history
                WHERE job_id = :job_id AND event IN ('enqueue', 'claim', 'take_over', 'replay'))
""")
_ORPHANS = text("""
    WITH orphan AS (
        SELECT o.job_id FROM outbox o LEFT JOIN jobs j ON j.id = o.job_id
        WHERE o.run_at < clock_timestamp() - make_interval(secs => :seconds)
          AND (j.id IS NULL OR j.state <> 'scheduled')
        LIMIT :limit FOR UPDATE OF o SKIP LOCKED
    )
    DELETE FROM outbox USING orphan WHERE outbox.job_id = orphan.job_id RETURNING outbox.job_id
""")
_GHOSTS = text("""
    WITH ghost AS (
        SELECT f.job_id FROM in_flight f LEFT JOIN jobs j ON j.id = f.job_id
        WHERE j.id IS NULL OR j.state NOT IN ('queued', 'running')
        LIMIT :limit FOR UPDATE OF f SKIP LOCKED
    )
    DELETE FROM in_flight USING ghost WHERE in_flight.job_id = ghost.job_id
    RETURNING in_flight.job_id
""")


_STRAYS = text("""
    WITH stray AS (
        SELECT w.job_id FROM waiting w LEFT JOIN jobs j ON j.id = w.job_id
        WHERE j.id IS NULL OR j.state <> 'waiting'
        LIMIT :limit FOR UPDATE OF w SKIP LOCKED
    )
    DELETE FROM waiting USING stray WHERE waiting.job_id = stray.job_id RETURNING waiting.job_id
""")
# One that a cancel held when a place came free, and then let go of: nothing may be left to end after it.
_STALLED = text("""
    SELECT flow_fill(s.batch_id, s.shard) AS released
    FROM (SELECT DISTINCT batch_id, shard FROM waiting WHERE batch_id IS NOT NULL) w
    JOIN batch_shards s USING (batch_id, shard)
    WHERE s.share > s.placed AND s.open > s.placed
    ORDER BY s.batch_id, s.shard LIMIT :limit
""")


def rescue_expired_leases(tx: Connection, *, limit: int = 500) -> list[UUID]:
    """Running jobs whose worker let the lease run out, and whose message did not come back either."""
    facts = {"code": "lease_expired", "message": "The worker let its lease run out."}
    return list(tx.execute(_EXPIRED_LEASES, {"limit": limit, **facts}).scalars())


def rescue_unheard(
    tx: Connection,
    queue: str,
    *,
    empty: bool,
    seconds: float,
    limit: int = 500,
    apart: Collection[str] = (),
    passed: datetime | None = None,
) -> list[UUID]:
    """Jobs of the queue that are `queued` for at least `seconds` and whose message is gone: the broker's queue has been
    `empty` for so long, or younger jobs have overtaken them by that much. Of the kinds that are `apart`, in shards of
    the queue's pool, only those that were queued before each shard was `passed`; None: one of them hasn't been.
    """
    facts = {"code": "message_lost", "message": "The broker no longer had the job's message."}
    lanes = {"apart": list(apart), "passed": passed}
    known = {"queue": queue, "empty": empty, "seconds": seconds, "limit": limit}
    answer = tx.execute(_UNHEARD, {**known, **lanes, **facts})
    return list(answer.scalars())


def rescue_queued(tx: Connection, job_id: UUID, *, code: str, message: str) -> bool:
    """Put back this job, if it is queued."""
    answer = tx.execute(_QUEUED, {"job_id": job_id, "code": code, "message": message})
    return answer.one_or_none() is not None


def evict(tx: Connection, job_id: UUID, attempt: int, *, message: str) -> bool:
    """Put back this job, if that attempt's lease has run out and the attempt holds its row by no
    transaction.
    """
    facts = {"code": "lease_expired", "message": message}
    answer = tx.execute(_SILENT, {"job_id": job_id, "attempt": attempt, **facts})
    return answer.one_or_none() is not None


def put_back_abandoned(tx: Connection, job_ids: Collection[UUID], *, worker: str) -> list[UUID]:
    """Those of the jobs that are running in the worker's name, of which the caller knows that no process of that
    worker has them any more.
    """
    facts = {"code": "child_lost", "message": "The process that ran it has ended."}
    answer = tx.execute(_ABANDONED, {"ids": list(job_ids), "worker": worker, **facts})
    return list(answer.scalars())


def put_back_hindered(tx: Connection, job_ids: Collection[UUID], *, worker: str) -> list[UUID]:
    """As `put_back_abandoned`, where it was the database that was away, which costs no attempt."""
    facts = {
        "code": DATABASE_AWAY,
        "message": "The database was away when the attempt was to be recorded.",
    }
    answer = tx.execute(_HINDERED, {"ids": list(job_ids), "worker": worker, **facts})
    return list(answer.scalars())


def keep_without_message(tx: Connection, job_ids: Collection[UUID], *, worker: str) -> int:
    """Of those of the jobs that are running in the worker's name, a message that comes back says nothing any more: only
    the end of their lease does. How many they are.
    """
    return tx.execute(_WITHOUT_MESSAGE, {"ids": list(job_ids), "worker": worker}).rowcount


def put_back_unstarted(tx: Connection, job_ids: Collection[UUID]) -> list[UUID]:
    """Those of the jobs that are queued, and whose message is with a worker that has no child for them."""
    facts = {
        "code": "no_child_free",
        "message": "The worker that had its message had no child free.",
    }
    return list(tx.execute(_UNSTARTED, {"ids": list(job_ids), **facts}).scalars())


def put_back_bystanders(tx: Connection, job_ids: Collection[UUID]) -> list[UUID]:
    """Of the jobs of a message that came back, those that are queued, if one of them is running: what may have killed its
    worker shall have the message, and the broker's patience with it, for itself.
    """
    facts = {
        "code": "worker_lost",
        "message": "A worker was lost with the message that it came in.",
    }
    return list(tx.execute(_BYSTANDERS, {"ids": list(job_ids), **facts}).scalars())


def put_back_late(tx: Connection, job_ids: Collection[UUID]) -> None:
    """Those of the jobs that are queued, and whose message has no time left for them."""
    facts = {
        "code": "no_time_left",
        "message": "The jobs before it in its message took the time that they had together.",
    }
    tx.execute(_UNSTARTED, {"ids": list(job_ids), **facts})


def times_rescued(tx: Connection, job_id: UUID) -> int:
    """How often it was put back since an attempt of it last began."""
    number: int = tx.execute(_RESCUED, {"job_id": job_id}).scalar_one()
    return number


def drop_orphans(tx: Connection, *, seconds: float, limit: int = 500) -> list[UUID]:
    """Outbox rows long due whose job isn't `scheduled`, in-flight rows whose job has ended, waiting rows of
    jobs that don't wait: none should exist, and a heap of them would stand before what is due.
    """
    orphans = tx.execute(_ORPHANS, {"seconds": seconds, "limit": limit}).scalars()
    ghosts = tx.execute(_GHOSTS, {"limit": limit}).scalars()
    strays = tx.execute(_STRAYS, {"limit": limit}).scalars()
    return [*orphans, *ghosts, *strays]


def release_stalled(tx: Connection, *, limit: int = 500) -> int:
    """Jobs that wait for a place in their batch's window although there is one; how many they were."""
    return sum(tx.execute(_STALLED, {"limit": limit}).scalars())
