"""Brief jobs of one message in one transaction: one commit for all of them, and one statement for their ends.

Each is still an attempt of its own, with its fence, its outcome and its history. It all happens or nothing does: where
one job fails, or ends otherwise than done, or the commit does, the transaction is rolled back and each runs alone,
as if nobody had tried. A message that comes back is never tried like this: what killed its worker is then found by
its own attempts.
"""

from collections.abc import Sequence
from uuid import UUID

import structlog

from app.logs import cause
from workers.runtime import metering
from workers.runtime.attempt import Delivery, Runtime, Verdict, judge
from workers.runtime.context import Context
from workers.runtime.held import Ran, is_brief, run_held
from workers.runtime.outcome import Done
from workers.runtime.trail import Trail

log = structlog.get_logger("workers.runtime.executor")


class _Split(Exception):
    """One of them isn't done."""


def run_together(runtime: Runtime, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
    """Run what can be run in one transaction; those that are left, for each to run alone. Raises nothing."""
    if len(deliveries) == 1 or not all(is_brief(one) for one in deliveries):
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
