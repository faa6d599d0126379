"""Brief jobs, delivered for the first time: held, run, and recorded as claimed and done, in the transaction of their effects.

The row's lock is their fence. All happens or nothing does.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from app.ledger import store
from app.ledger.store import Held
from workers.runtime.attempt import Delivery, Runtime, Verdict, context_of, enqueue_children
from workers.runtime.context import Context
from workers.runtime.outcome import Done
from workers.runtime.registry import registrations
from workers.runtime.transaction import JobTransaction


@dataclass(frozen=True, slots=True)
class Ran:
    """A brief job's run, and how many seconds it took."""

    context: Context
    verdict: Verdict
    seconds: float


def is_brief(delivery: Delivery) -> bool:
    """Whether to try it in one transaction. A message that comes back may have killed its worker, and
    then its attempts are counted before they run.
    """
    registration = registrations().get(delivery.kind)
    return not (registration is None or delivery.redelivered) and registration.contract.spec.brief


def run_held(
    runtime: Runtime,
    deliveries: Sequence[Delivery],
    run: Callable[[Delivery, Context], Verdict],
    in_time: Callable[[], bool] = lambda: True,
) -> list[Ran]:
    """Hold what can be held, `run` one after the other while it is `in_time`, the first in any case, and record and
    commit: all or nothing. One that isn't done is the last of those returned, and nothing has happened. Raises whatever
    stands in the way.
    """
    ran: list[Ran] = []
    done: list[tuple[Held, float]] = []
    with JobTransaction(runtime.engine) as tx:
        ids = [one.job_id for one in deliveries]
        held = store.hold(tx, ids, worker=deliveries[0].worker)
        clock = time.monotonic()
        for delivery in deliveries:
            own = held.get(delivery.job_id)
            if own is None or own.job.kind != delivery.kind:
                continue
            if ran and not in_time():
                break
            context = context_of(runtime, own.job, connection=tx)
            began = time.monotonic()
            verdict = run(delivery, context)
            ended = time.monotonic()
            ran.append(Ran(context, verdict, ended - began))
            if not isinstance(verdict.outcome, Done):
                return ran
            enqueue_children(tx, own.job, verdict.outcome.then)
            # Their times are the database's, moved on by our clock.
            done.append((replace(own, began=own.began + began - clock), own.began + ended - clock))
        if done:
            store.commit_held(tx, done)
    for one in ran:
        one.context.committed()
    return ran
