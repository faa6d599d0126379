"""After the last fault: wait, within bounds, until nothing moves any more."""

import time

import psycopg

from infra.local.waiting import until
from tests.chaos.aftercare import Aftercare
from tests.chaos.leftovers import left_in_queues, left_in_store
from tests.chaos.stage import ABANDONED_SECONDS, DISPATCHERS, Stage

QUIET_SECONDS = 180.0
TIDY_SECONDS = 30.0
IDLE_SECONDS = 45.0
"""Longer than a lease, a rescue, a back-off or a broken connection keeps a job waiting here."""
_MOVING = """
    SELECT (SELECT count(*) FROM jobs WHERE state IN ('scheduled', 'queued', 'running')),
           extract(epoch FROM clock_timestamp() - (SELECT at FROM job_history
                                                   ORDER BY id DESC LIMIT 1))::float
"""


def wait_for_quiet(stage: Stage, aftercare: Aftercare) -> None:
    """Returns when every job has ended; or when nothing has happened for a long time, or something still
    does after a very long one: the checks say what is left.
    """
    aftercare.finish()
    until(lambda: _is_over(stage, aftercare), seconds=QUIET_SECONDS)


def _is_over(stage: Stage, aftercare: Aftercare) -> bool:
    try:
        with stage.database() as tx:
            row = tx.execute(_MOVING).fetchone()
    except psycopg.Error:
        return False
    assert row is not None
    unfinished, idle_seconds = row
    return (unfinished == 0 and aftercare.done) or idle_seconds > IDLE_SECONDS


def tidy(stage: Stage) -> None:
    """Let the last duplicates find nothing to do; then have what unfinished uploads left looked after.

    Dispatchers do that when they start and every ten minutes; here they are started again, if need be,
    once the leftovers are old enough to be taken for abandoned.
    """
    until(lambda: not any(left_in_queues(stage)), seconds=TIDY_SECONDS)
    if any(left_in_store(stage)):
        time.sleep(ABANDONED_SECONDS)
        for name in DISPATCHERS:
            stage.system.restart_program(name)
        until(lambda: not any(left_in_store(stage)), seconds=TIDY_SECONDS)
