"""The pipeline of one delivery: claim, run, settle, and what to tell the broker.

a brief job, delivered for the first time:
   hold -> run -> Done ............. record and commit .. acknowledge
        -> anything else ........... as below, without running it again
any other:

claim -> nothing to claim ............................... acknowledge
      -> run -> Done, Retry, Snooze, Cancel .. settle ... acknowledge
             -> Dead, or attempts used up .... settle ... dead-letter
             -> an exception ... Retry, or Dead if it is permanent
             -> the lease is lost .... roll back ........ acknowledge
             -> its lock is taken .... snooze ........... acknowledge
the database stays away ................................ hold the message until it is back
the runtime is at fault ................................ give the message back
"""

import time
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from itertools import count
from typing import TypeVar

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import InterfaceError, OperationalError

from app.db import autocommit
from app.errors import LockBusy, LostLease
from app.ledger import store
from app.ledger.aftermath import Aftermaths, Ending, Subject, follow_end
from app.ledger.burial import record_death
from app.ledger.job_error import JobError, job_error
from app.ledger.put_off import pause_seconds
from app.ledger.retry import dice, retry_delay_seconds, tries_made
from app.ledger.state import Event, State
from app.ledger.store import Claimed
from app.logs import cause
from app.traces import spans
from workers.runtime import metering
from workers.runtime.attempt import (
    SOFT_TIME_LIMIT,
    Delivery,
    Hindrance,
    Runtime,
    Verdict,
    blame,
    context_of,
    enqueue_children,
    judge,
)
from workers.runtime.context import Context
from workers.runtime.held import is_brief, run_held
from workers.runtime.outcome import Cancel, Dead, Done, Outcome, Retry, Snooze
from workers.runtime.registry import registrations
from workers.runtime.trail import Trail

log = structlog.get_logger()
Answer = TypeVar("Answer")

DATABASE_WAIT_SECONDS = 30.0
LOCK_WAIT_SECONDS = (0.2, 1.0)
"""A job that finds its lock taken is tried again after a pause between these."""


class Disposition(Enum):
    """What happens to the message."""

    ACKNOWLEDGE = "acknowledge"
    DEAD_LETTER = "dead_letter"
    GIVE_BACK = "give_back"
    HOLD = "hold"
    """The database is away: to be given back when it answers."""


def execute(runtime: Runtime, delivery: Delivery, *, ran: Verdict | None = None) -> Disposition:
    """Run one delivery to its end. Raises nothing but what ends the process. `ran` is what a run in a transaction that was
    rolled back has come to, where that was a failure which counts.
    """
    with Trail(delivery) as trail:
        return _execute(runtime, delivery, trail, ran)


def _execute(
    runtime: Runtime, delivery: Delivery, trail: Trail, ran: Verdict | None
) -> Disposition:
    began = time.monotonic()
    try:
        if ran is not None:
            done = _conclude_held(runtime, delivery, trail, ran)
        else:
            brief = _run_brief(runtime, delivery, trail) if is_brief(delivery) else None
            done = brief or _run(runtime, delivery, trail)
    except LostLease:
        _fruitless(delivery, trail, "lost_lease")
        log.warning("job.lost_lease")
        return Disposition.ACKNOWLEDGE
    except (OperationalError, InterfaceError) as error:
        _fruitless(delivery, trail, "given_back")
        log.warning("job.database_away", error=cause(error))
        return Disposition.HOLD
    except Exception:
        # A fault of ours. The ledger's attempt limit ends the circle that this may become.
        _fruitless(delivery, trail, "given_back")
        log.exception("job.runtime_fault")
        return Disposition.GIVE_BACK
    if done is None:
        _fruitless(delivery, trail, "nothing_to_claim")
        log.info("job.nothing_to_claim")
        return Disposition.ACKNOWLEDGE
    job, outcome = done
    name, seconds = type(outcome).__name__.lower(), time.monotonic() - began
    metering.settled(job, name, seconds)
    trail.ended(name)
    log.info("job.settled", outcome=name, seconds=round(seconds, 3))
    return Disposition.DEAD_LETTER if isinstance(outcome, Dead) else Disposition.ACKNOWLEDGE


def _fruitless(delivery: Delivery, trail: Trail, outcome: str) -> None:
    metering.fruitless(delivery.kind, outcome)
    trail.ended(outcome)


def _run_brief(
    runtime: Runtime, delivery: Delivery, trail: Trail
) -> tuple[Claimed, Outcome] | None:
    """In one transaction; None, and nothing done, where that isn't enough."""
    has_run = False

    def run(_: Delivery, context: Context) -> Verdict:
        nonlocal has_run
        has_run = True
        trail.claimed(context.job)
        return judge(runtime, context)

    try:
        ran = run_held(runtime, [delivery], run)
    except (OperationalError, InterfaceError, LockBusy):
        return None  # whether it was recorded or not, the claim will see
    except LostLease:
        raise
    except Exception as bad:
        if not has_run:
            raise
        # What the end of its transaction has brought to light.
        return _conclude_held(runtime, delivery, trail, blame(runtime, bad))
    for one in ran:
        if isinstance(one.verdict.outcome, Done):
            return one.context.job, one.verdict.outcome
        return _conclude_held(runtime, delivery, trail, one.verdict)
    return None


def _conclude_held(
    runtime: Runtime, delivery: Delivery, trail: Trail, verdict: Verdict
) -> tuple[Claimed, Outcome] | None:
    """The held job is free again and as it was: claim it, and settle what its run came to."""
    if verdict.error is None:
        return None  # a snooze or the like: what it wrote is gone, so it has to run once more
    job = _with_database(lambda: _claim(runtime, delivery, again=False))
    if job is None:
        raise LostLease(f"job {delivery.job_id} was taken while it was free")
    trail.claimed(job)
    return job, _fail(runtime, job, verdict)


def _run(runtime: Runtime, delivery: Delivery, trail: Trail) -> tuple[Claimed, Outcome] | None:
    """Claim, run and settle, the claim in a commit of its own; None when there is nothing to claim."""
    tries = count()
    job = _with_database(lambda: _claim(runtime, delivery, again=next(tries) > 0))
    if job is None:
        return None
    trail.claimed(job)
    context = context_of(runtime, job)
    try:
        with runtime.leases.keep(context):
            return job, _attempt(runtime, context)
    finally:
        context.close()


def _claim(runtime: Runtime, delivery: Delivery, *, again: bool) -> Claimed | None:
    """Claim the job. `again` after a lost connection: that claim may have been made, and its answer lost,
    so that the job is running in our name and nobody else has its message.
    """
    with autocommit(runtime.engine) as tx:
        return store.claim(
            tx,
            delivery.job_id,
            worker=delivery.worker,
            lease_seconds=runtime.settings.lease_seconds,
            redelivered=delivery.redelivered,
            message_attempt=delivery.attempt,
            unanswered=again,
        )


def _attempt(runtime: Runtime, context: Context) -> Outcome:
    """Run the handler and settle; whatever goes wrong is settled in a transaction of its own."""
    job = context.job
    try:
        verdict = judge(runtime, context)
        if isinstance(verdict.outcome, (Done, Snooze, Cancel)):
            with context.settling() as tx:
                _settle(tx, job, verdict.outcome)
            return verdict.outcome
    except LostLease:
        raise
    except LockBusy:
        context.close()
        log.info("job.lock_busy")
        return _with_database(lambda: _step_back(runtime, job))
    except Exception as bad:  # noqa: BLE001 - what the end of a transaction may bring to light
        verdict = blame(runtime, bad)
    context.close()
    return _fail(runtime, job, verdict)


def _settle(tx: Connection, job: Claimed, outcome: Done | Snooze | Cancel) -> None:
    match outcome:
        case Done(then):
            enqueue_children(tx, job, then)
            store.settle(tx, job, Event.SUCCEED)
        case Snooze(seconds, reason, code):
            why = None if reason is None else job_error(code, reason)
            store.settle(tx, job, Event.SNOOZE, delay_seconds=seconds, extra_attempts=1, error=why)
        case Cancel(reason):
            error = job_error("cancelled_by_handler", reason)
            store.settle(tx, job, Event.CANCEL, error=error)


def _step_back(runtime: Runtime, job: Claimed) -> Outcome:
    """Give way to the holder of the lock, for a moment."""
    pause = Snooze(dice(job.id, job.attempt).uniform(*LOCK_WAIT_SECONDS))
    with runtime.engine.begin() as tx:
        _settle(tx, job, pause)
    return pause


def _fail(runtime: Runtime, job: Claimed, verdict: Verdict) -> Outcome:
    """Settle a failure, however long the database is away."""
    failure, error = verdict.outcome, verdict.error
    if not isinstance(failure, (Retry, Dead)) or error is None:
        raise TypeError(f"{verdict} is no failure")
    if error["code"] == SOFT_TIME_LIMIT:
        metering.timed_out(job.kind, "soft")
    if verdict.raised:
        # What it says may quote the payload: it is in the ledger, with the job.
        log.warning("job.failed", error_type=error["type"], frame=error["frame"])
    spans.fail(error["type"] if error["code"] == "exception" else error["code"])
    return _with_database(
        lambda: (
            _put_off(runtime, job, verdict.hindrance, error)
            or _settle_failure(runtime, job, failure, error)
        )
    )


def _put_off(
    runtime: Runtime, job: Claimed, hindrance: Hindrance | None, error: JobError
) -> Snooze | None:
    """A server was away: later, at no cost. None where the attempt counts as any other."""
    if hindrance is None:
        return None
    code = hindrance.code
    with runtime.engine.begin() as tx:
        seconds = pause_seconds(
            tx, job.id, code=code, attempt=job.attempt, still_away=hindrance.still
        )
        if seconds is None:
            return None
        why = error | job_error(code, f"The {hindrance.server} was away: {error['message']}")
        store.settle(tx, job, Event.SNOOZE, delay_seconds=seconds, extra_attempts=1, error=why)
    log.warning("job.put_off", code=code, error_type=error["type"], seconds=round(seconds, 1))
    return Snooze(seconds, why["message"], code)


def _settle_failure(
    runtime: Runtime, job: Claimed, failure: Retry | Dead, error: JobError
) -> Outcome:
    """Retry later, or die when the failure is permanent or the attempts are used up."""
    registration = registrations().get(job.kind)
    with runtime.engine.begin() as tx:
        if isinstance(failure, Retry) and registration is not None:
            policy, left = registration.contract.spec.retry, job.max_attempts - job.attempt
            tries = tries_made(policy, attempt=job.attempt, max_attempts=job.max_attempts)
            delay = retry_delay_seconds(
                replace(policy, attempts=tries + left),
                attempt=tries,
                rng=dice(job.id, job.attempt),
                retry_after_seconds=failure.after_seconds,
            )
            if delay is not None:
                store.settle(tx, job, Event.RETRY, delay_seconds=delay, error=error)
                return failure
        _die(tx, runtime.aftermaths, job, error)
    return Dead(error["message"], error["code"])


def _die(tx: Connection, aftermaths: Aftermaths, job: Claimed, error: JobError) -> None:
    """Record the death, what follows from it, and its dead letter, in one commit."""
    subject = Subject(
        id=job.id,
        tenant_id=job.tenant_id,
        kind=job.kind,
        version=job.version,
        payload=job.payload,
        traceparent=job.traceparent,
    )
    follow_end(tx, aftermaths, subject, Ending(state=State.DEAD, error=error))
    store.settle(tx, job, Event.DIE, error=error)
    record_death(tx, job.id, job.kind, error)


def _with_database(step: Callable[[], Answer]) -> Answer:
    """Do `step`, again and again while the database is away, for DATABASE_WAIT_SECONDS at most."""
    deadline = time.monotonic() + DATABASE_WAIT_SECONDS
    pause = 0.1
    while True:
        try:
            return step()
        except (OperationalError, InterfaceError):
            if time.monotonic() + pause > deadline:
                raise
            time.sleep(pause)
            pause = min(pause * 2, 2.0)
