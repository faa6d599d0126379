"""Brief jobs that a child has at once. Those of one message, whose contract has them travel together, are run in one
transaction: one commit for all of them, and one statement for their ends.

Each is still an attempt of its own, with its fence, its outcome and its history. It all happens or nothing does: where
one job fails, or ends otherwise than done, or the commit does, the transaction is rolled back and each runs alone,
as if nobody had tried. A message that comes back is never tried like this: what killed its worker is then found by
its own attempts. Once it has begun one, the others are sent again without it.

Of several messages each commits for itself, unless their contracts let them travel together.
"""

import time
from collections.abc import Callable, Collection, Sequence
from math import inf
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.ledger.rescue import put_back_bystanders, put_back_late
from app.logs import cause
from workers.runtime import metering
from workers.runtime.attempt import SOFT_TIME_LIMIT, Delivery, Runtime, Verdict, judge
from workers.runtime.context import Context
from workers.runtime.executor import Disposition, execute
from workers.runtime.held import Ran, is_brief, run_held
from workers.runtime.outcome import Done
from workers.runtime.registry import registrations
from workers.runtime.trail import Trail

log = structlog.get_logger("workers.runtime.executor")

UNDONE = frozenset({Disposition.GIVE_BACK, Disposition.HOLD})


class _Split(Exception):
    """One of them isn't done."""

    def __init__(self, delivery: Delivery, verdict: Verdict) -> None:
        super().__init__(type(verdict.outcome).__name__)
        self.delivery, self.verdict = delivery, verdict


def run_message(
    runtime: Runtime,
    deliveries: Sequence[Delivery],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> list[Disposition]:
    """Run the jobs of one message, all of a kind; what each would have become of it. Raises nothing.

    Their time limits hold for all of them. Who would begin when half of the soft one is over is put back into the outbox,
    and comes again with all of its own.
    """
    apart = _set_apart(runtime, deliveries)
    own = [one for one in deliveries if one.job_id not in apart]
    said = _run_each(runtime, own, own, clock)
    late = [one.job_id for one, what in zip(own, said, strict=True) if what is None]
    instead = Disposition.ACKNOWLEDGE if _put_back(runtime, late) else Disposition.HOLD
    became = {id(one): what or instead for one, what in zip(own, said, strict=True)}
    return [became.get(id(one), Disposition.ACKNOWLEDGE) for one in deliveries]


def run_apart(
    runtime: Runtime,
    deliveries: Sequence[Delivery],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> list[Disposition]:
    """Run brief jobs of as many messages; what is to become of each message. Raises nothing.

    The shortest of their time limits holds for all of them. Who would begin when half of it is over is given back,
    and comes again with all of its own.
    """
    said = _run_each(runtime, deliveries, [one for one in deliveries if _shares(one)], clock)
    answers = [what or Disposition.GIVE_BACK for what in said]
    if given_back := sum(answer in UNDONE for answer in answers):
        log.info("jobs.given_back", jobs=given_back)
    return answers


def _run_each(
    runtime: Runtime,
    deliveries: Sequence[Delivery],
    sharing: Sequence[Delivery],
    clock: Callable[[], float],
) -> list[Disposition | None]:
    """Those that are `sharing` in one transaction, where that can be, and the others each for itself. None is for who
    would have begun late.
    """
    known = [registrations().get(one.kind) for one in deliveries]
    limits = [one.contract.spec.soft_seconds for one in known if one is not None]
    latest = clock() + min(limits, default=inf) / 2
    shared = _run_together(runtime, sharing, latest, clock)
    said: list[Disposition | None] = []
    for one in deliveries:
        if id(one) in shared:
            said.append(shared[id(one)])
        elif said and said[-1] in UNDONE:
            # The database is away, and each would only wait as long again.
            said.append(said[-1])
        elif (said or shared) and clock() > latest:
            said.append(None)
        else:
            said.append(execute(runtime, one))
    return said


def _shares(delivery: Delivery) -> bool:
    return registrations()[delivery.kind].contract.spec.together > 1


def _run_together(
    runtime: Runtime, deliveries: Sequence[Delivery], latest: float, clock: Callable[[], float]
) -> dict[int, Disposition]:
    """Run what can be run in one transaction, beginning none that would be late; what is to become of those that were run,
    by their object's id. One that ran into its time limit has had its attempt, and isn't run again before the others.
    """
    if len(deliveries) <= 1 or not all(is_brief(one) for one in deliveries):
        return {}
    trails: dict[UUID, Trail] = {}
    try:
        done = _run(runtime, deliveries, trails, lambda: clock() <= latest)
    except _Split as split:
        _say_split(deliveries, split)
        one, verdict = split.delivery, split.verdict
        timed_out = verdict.error is not None and verdict.error["code"] == SOFT_TIME_LIMIT
        return {id(one): execute(runtime, one, ran=verdict)} if timed_out else {}
    except Exception as why:  # noqa: BLE001 - each meets it again alone, and is judged there
        _say_split(deliveries, why)
        return {}
    for ran in done:
        job = ran.context.job
        metering.settled(job, "done", ran.seconds)
        log.info("job.settled", outcome="done", seconds=round(ran.seconds, 3), **trails[job.id].ids)
    finished = {ran.context.job.id for ran in done}
    return {id(one): Disposition.ACKNOWLEDGE for one in deliveries if one.job_id in finished}


def _set_apart(runtime: Runtime, deliveries: Sequence[Delivery]) -> Collection[UUID]:
    """Those that are in the outbox again, because one that they travel with may have been the end of a worker."""
    if len(deliveries) <= 1 or not deliveries[0].redelivered:
        return ()
    try:
        with runtime.engine.begin() as tx:
            apart = put_back_bystanders(tx, [one.job_id for one in deliveries])
    except SQLAlchemyError:
        return ()  # each will see for itself
    if apart:
        log.info("jobs.put_back", jobs=len(apart), reason="worker_lost")
    return apart


def _say_split(deliveries: Sequence[Delivery], why: Exception) -> None:
    log.info("jobs.split", kind=deliveries[0].kind, jobs=len(deliveries), error=cause(why))


def _put_back(runtime: Runtime, late: Sequence[UUID]) -> bool:
    """Whether all that are still queued are in the outbox again."""
    if not late:
        return True
    try:
        with runtime.engine.begin() as tx:
            put_back_late(tx, late)
    except SQLAlchemyError as error:
        log.info("jobs.not_put_back", jobs=len(late), error=cause(error))
        return False
    log.info("jobs.put_back", jobs=len(late), reason="no_time_left")
    return True


def _run(
    runtime: Runtime,
    deliveries: Sequence[Delivery],
    trails: dict[UUID, Trail],
    in_time: Callable[[], bool],
) -> Sequence[Ran]:
    """Those that could be held and begun, all done and committed. Raises whatever stands in the way."""

    def run(delivery: Delivery, context: Context) -> Verdict:
        with Trail(delivery) as trail:
            trail.claimed(context.job)
            verdict = judge(runtime, context)
            if isinstance(verdict.outcome, Done):
                trail.ended("done")
        trails[context.job.id] = trail
        return verdict

    ran = run_held(runtime, deliveries, run, in_time)
    for one in ran:
        if not isinstance(one.verdict.outcome, Done):
            (culprit, *_) = [each for each in deliveries if each.job_id == one.context.job.id]
            raise _Split(culprit, one.verdict)
    return ran
