"""Brief jobs of one message in one transaction: one commit for all of them, and one statement for their ends.

Each is still an attempt of its own, with its fence, its outcome and its history. It all happens or nothing does: where
one job fails, or ends otherwise than done, or the commit does, the transaction is rolled back and each runs alone,
as if nobody had tried. A message that comes back is never tried like this: what killed its worker is then found by
its own attempts.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from app.ledger import store
from app.ledger.store import Held
from app.logs import cause
from workers.runtime import metering
from workers.runtime.context import Context
from workers.runtime.executor import (
    Delivery,
    Runtime,
    context_of,
    enqueue_children,
    is_brief,
    judge,
)
from workers.runtime.outcome import Done
from workers.runtime.trail import Trail

log = structlog.get_logger("workers.runtime.executor")


@dataclass(frozen=True, slots=True)
class _Ran:
    """A job that was run, and is done if all are."""

    held: Held
    ended: datetime
    seconds: float
    context: Context
    trail: Trail


class _Split(Exception):
    """One of them isn't done."""


def run_together(runtime: Runtime, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
    """Run what can be run in one transaction; those that are left, for each to run alone. Raises nothing."""
    if len(deliveries) == 1 or not all(is_brief(one) for one in deliveries):
        return deliveries
    try:
        done = _run(runtime, deliveries)
    except Exception as why:  # noqa: BLE001 - each meets it again alone, and is judged there
        log.info("jobs.split", kind=deliveries[0].kind, jobs=len(deliveries), error=cause(why))
        return deliveries
    for one in done:
        one.context.committed()
        metering.settled(one.held.job, "done", one.seconds)
        log.info("job.settled", outcome="done", seconds=round(one.seconds, 3), **one.trail.ids)
    finished = {one.held.job.id for one in done}
    return [one for one in deliveries if one.job_id not in finished]


def _run(runtime: Runtime, deliveries: Sequence[Delivery]) -> list[_Ran]:
    """Those that could be held, all done and committed. Raises whatever stands in the way."""
    ids = [one.job_id for one in deliveries]
    with runtime.engine.connect() as tx:
        held = store.hold_all(tx, ids, worker=deliveries[0].worker)
        began = time.monotonic()
        mine = [(one, held[one.job_id]) for one in deliveries if one.job_id in held]
        done = [
            _run_one(runtime, tx, one, job, began) for one, job in mine if job.job.kind == one.kind
        ]
        if done:
            store.finish_all_held(tx, [(one.held, one.ended) for one in done])
            tx.commit()
    return done


def _run_one(
    runtime: Runtime, tx: Connection, delivery: Delivery, held: Held, clock: float
) -> _Ran:
    """`clock` is this process's when the jobs were held: their times are the database's, moved on by ours."""
    before = time.monotonic()
    context = context_of(runtime, held.job, connection=tx)
    with Trail(delivery) as trail:
        trail.claimed(held.job)
        outcome = judge(runtime, context).outcome
        if not isinstance(outcome, Done):
            raise _Split(type(outcome).__name__)
        enqueue_children(tx, held.job, outcome.then)
        trail.ended("done")
    after = time.monotonic()
    begins, ends = (held.began + timedelta(seconds=at - clock) for at in (before, after))
    own = Held(job=held.job, worker=held.worker, began=begins)
    return _Ran(own, ends, after - before, context, trail)
