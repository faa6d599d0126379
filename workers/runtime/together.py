"""Brief jobs that a child has at once. Those of one message, whose contract has them travel together, are run in one
transaction: one commit for all of them, and one statement for their ends.

Each is still an attempt of its own, with its fence, its outcome and its history. It all happens or nothing does: where
one job fails, or ends otherwise than done, or the commit does, the transaction is rolled back and each runs alone,
as if nobody had tried. A message that comes back is never tried like this: what killed its worker is then found by
its own attempts.

Of several messages each commits for itself, unless their contracts let them travel together.
"""

import time
from collections.abc import Callable, Sequence
from uuid import UUID

import structlog

from app.logs import cause
from workers.runtime import metering
from workers.runtime.attempt import Delivery, Runtime, Verdict, judge
from workers.runtime.context import Context
from workers.runtime.executor import Disposition, execute
from workers.runtime.held import Ran, is_brief, run_held
from workers.runtime.outcome import Done
from workers.runtime.registry import registrations
from workers.runtime.trail import Trail

log = structlog.get_logger("workers.runtime.executor")


class _Split(Exception):
    """One of them isn't done."""


def run_together(runtime: Runtime, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
    """Run what can be run in one transaction; those that are left, for each to run alone. Raises nothing."""
    if len(deliveries) <= 1 or not all(is_brief(one) for one in deliveries):
        return deliveries
    trails: dict[UUID, Trail] = {}
    try:
        done = _run(runtime, deliveries, trails)
    except Exception as why:  # noqa: BLE001 - each meets it again alone, and is judged there
        log.info("jobs.split", kind=deliveries[0].kind, jobs=len(deliveries), error=cause(why))
        return deliveries
    for one in done:
        job = one.context.job
        metering.settled(job, "done", one.seconds)
        log.info("job.settled", outcome="done", seconds=round(one.seconds, 3), **trails[job.id].ids)
    finished = {one.context.job.id for one in done}
    return [one for one in deliveries if one.job_id not in finished]


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
    specs = {one.kind: registrations()[one.kind].contract.spec for one in deliveries}
    latest = clock() + min(spec.soft_seconds for spec in specs.values()) / 2
    sharing = [one for one in deliveries if specs[one.kind].together > 1]
    left = {id(one) for one in run_together(runtime, sharing)}
    shared = {id(one) for one in sharing} - left
    said: list[Disposition] = []
    for one in deliveries:
        if id(one) in shared:
            said.append(Disposition.ACKNOWLEDGE)
        elif Disposition.GIVE_BACK in said or clock() > latest:
            # Where the database is away, each would only wait as long again.
            said.append(Disposition.GIVE_BACK)
        else:
            said.append(execute(runtime, one))
    if given_back := said.count(Disposition.GIVE_BACK):
        log.info("jobs.given_back", jobs=given_back)
    return said


def _run(
    runtime: Runtime, deliveries: Sequence[Delivery], trails: dict[UUID, Trail]
) -> Sequence[Ran]:
    """Those that could be held, all done and committed. Raises whatever stands in the way."""

    def run(delivery: Delivery, context: Context) -> Verdict:
        with Trail(delivery) as trail:
            trail.claimed(context.job)
            verdict = judge(runtime, context)
            if isinstance(verdict.outcome, Done):
                trail.ended("done")
        trails[context.job.id] = trail
        return verdict

    ran = run_held(runtime, deliveries, run)
    for one in ran:
        if not isinstance(one.verdict.outcome, Done):
            raise _Split(type(one.verdict.outcome).__name__)
    return ran
