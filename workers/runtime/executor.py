"""The pipeline of one delivery: claim, run, settle, and what to tell the broker.

claim -> nothing to claim ............................... acknowledge
      -> run -> Done, Retry, Snooze, Cancel .. settle ... acknowledge
             -> Dead, or attempts used up .... settle ... dead-letter
             -> an exception ... Retry, or Dead if it is permanent
             -> the lease is lost .... roll back ........ acknowledge
the database stays away, or the runtime is at fault .... give the message back
"""

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import count
from typing import TypeVar
from uuid import UUID

import structlog
from pydantic import ValidationError
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import InterfaceError, OperationalError

from app.errors import LostLease
from app.ledger import store
from app.ledger.contract import JobContract
from app.ledger.enqueue import NewJob, enqueue_many
from app.ledger.retry import dice, retry_delay_seconds
from app.ledger.state import Event
from app.ledger.store import Claimed
from app.settings import Settings
from app.storage import Storage
from workers.runtime.context import Context
from workers.runtime.lease import LeaseKeeper
from workers.runtime.outcome import Cancel, Dead, Done, Outcome, PermanentError, Retry, Snooze
from workers.runtime.registry import Registration, registrations

log = structlog.get_logger()
Answer = TypeVar("Answer")

DATABASE_WAIT_SECONDS = 30.0
_MAX_MESSAGE_CHARS = 2000
_MAX_TRACEBACK_CHARS = 8000


class Disposition(Enum):
    """What happens to the message."""

    ACKNOWLEDGE = "acknowledge"
    DEAD_LETTER = "dead_letter"
    GIVE_BACK = "give_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message as it came: `redelivered` is the broker's flag, `worker` our name in the history."""

    job_id: UUID
    worker: str
    redelivered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What one worker process shares between its jobs. `soft_timeout` is the pool's own exception."""

    engine: Engine
    storage: Storage
    settings: Settings
    leases: LeaseKeeper
    soft_timeout: type[Exception]


def execute(runtime: Runtime, delivery: Delivery) -> Disposition:
    """Run one delivery to its end. Raises nothing but what ends the process."""
    try:
        tries = count()
        job = _with_database(lambda: _claim(runtime, delivery, again=next(tries) > 0))
        if job is None:
            log.info("job.nothing_to_claim", job_id=str(delivery.job_id))
            return Disposition.ACKNOWLEDGE
        return _run(runtime, job)
    except (OperationalError, InterfaceError) as error:
        log.warning("job.database_away", job_id=str(delivery.job_id), error=str(error.orig))
        return Disposition.GIVE_BACK
    except Exception:
        # A fault of ours. The ledger's attempt limit ends the circle that this may become.
        log.exception("job.runtime_fault", job_id=str(delivery.job_id))
        return Disposition.GIVE_BACK


def _claim(runtime: Runtime, delivery: Delivery, *, again: bool) -> Claimed | None:
    """Claim the job. `again` after a lost connection: that claim may have been made, and its answer lost,
    so that the job is running in our name and nobody else has its message.
    """
    with runtime.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as tx:
        return store.claim(
            tx,
            delivery.job_id,
            worker=delivery.worker,
            lease_seconds=runtime.settings.lease_seconds,
            redelivered=delivery.redelivered or again,
        )


def _run(runtime: Runtime, job: Claimed) -> Disposition:
    started = time.monotonic()
    context = Context(
        job, engine=runtime.engine, storage=runtime.storage, settings=runtime.settings
    )
    try:
        with runtime.leases.keep(context):
            outcome = _attempt(runtime, context)
    except LostLease:
        log.warning("job.lost_lease", **_ids(job))
        return Disposition.ACKNOWLEDGE
    finally:
        context.close()
    log.info(
        "job.settled",
        outcome=type(outcome).__name__.lower(),
        seconds=round(time.monotonic() - started, 3),
        **_ids(job),
    )
    return Disposition.DEAD_LETTER if isinstance(outcome, Dead) else Disposition.ACKNOWLEDGE


def _attempt(runtime: Runtime, context: Context) -> Outcome:
    """Run the handler and settle; whatever goes wrong is settled in a transaction of its own."""
    job = context.job
    try:
        registration, payload = _resolve(job)
        outcome = registration.handler(context, payload)
        if isinstance(outcome, (Done, Snooze, Cancel)):
            with context.settling() as tx:
                _settle(tx, job, outcome)
            return outcome
        failure, error = _refused(outcome)
    except LostLease:
        raise
    except PermanentError as bad:
        failure, error = Dead(str(bad), bad.code), _describe(bad, bad.code)
    except Exception as bad:  # noqa: BLE001 - the one place that classifies what handlers raise
        code = "soft_time_limit" if isinstance(bad, runtime.soft_timeout) else "exception"
        failure, error = Retry(str(bad) or type(bad).__name__), _describe(bad, code)
        log.warning("job.failed", error=error["message"], error_type=error["type"], **_ids(job))
    context.close()
    return _with_database(lambda: _settle_failure(runtime, job, failure, error))


def _resolve(job: Claimed) -> tuple[Registration, JobContract]:
    """The handler and the payload. Raises PermanentError for what no retry can mend."""
    if job.attempt > job.max_attempts:
        raise PermanentError(
            f"The worker was lost in each of {job.max_attempts} attempts.", code="worker_lost"
        )
    registration = registrations().get(job.kind)
    if registration is None:
        raise PermanentError(f"This worker knows no kind {job.kind!r}.", code="unknown_kind")
    version = registration.contract.spec.version
    if job.version != version:
        raise PermanentError(
            f"The job is {job.kind} version {job.version}; this worker handles version {version}.",
            code="wrong_version",
        )
    try:
        return registration, registration.contract.model_validate(job.payload)
    except ValidationError as bad:
        fields = ", ".join(".".join(map(str, e["loc"])) for e in bad.errors())
        raise PermanentError(
            f"The payload doesn't fit {job.kind}: {fields}.", code="invalid_payload"
        ) from None


def _settle(tx: Connection, job: Claimed, outcome: Done | Snooze | Cancel) -> None:
    match outcome:
        case Done(then):
            _enqueue_children(tx, job, then)
            store.settle(tx, job, Event.SUCCEED)
        case Snooze(seconds):
            store.settle(tx, job, Event.SNOOZE, delay_seconds=seconds, extra_attempts=1)
        case Cancel(reason):
            error = {"code": "cancelled_by_handler", "message": reason}
            store.settle(tx, job, Event.CANCEL, error=error)


def _settle_failure(
    runtime: Runtime, job: Claimed, failure: Retry | Dead, error: dict[str, str]
) -> Outcome:
    """Retry later, or die when the failure is permanent or the attempts are used up."""
    registration = registrations().get(job.kind)
    with runtime.engine.begin() as tx:
        if isinstance(failure, Retry) and registration is not None:
            policy = replace(registration.contract.spec.retry, attempts=job.max_attempts)
            delay = retry_delay_seconds(
                policy,
                attempt=job.attempt,
                rng=dice(job.id, job.attempt),
                retry_after_seconds=failure.after_seconds,
            )
            if delay is not None:
                store.settle(tx, job, Event.RETRY, delay_seconds=delay, error=error)
                return failure
    _die(runtime, job, registration, error)
    return Dead(error["message"], error["code"])


def _die(
    runtime: Runtime, job: Claimed, registration: Registration | None, error: dict[str, str]
) -> None:
    """Record the death, with what the handler's `on_dead` adds to it; a fault there doesn't prevent it."""
    if registration is not None and registration.on_dead is not None:
        try:
            with runtime.engine.begin() as tx:
                payload = _readable(registration, job)
                if payload is not None:
                    _enqueue_children(tx, job, registration.on_dead(tx, payload, error))
                store.settle(tx, job, Event.DIE, error=error)
        except (LostLease, OperationalError, InterfaceError):
            raise
        except Exception:
            log.exception("job.on_dead_failed", **_ids(job))
        else:
            return
    with runtime.engine.begin() as tx:
        store.settle(tx, job, Event.DIE, error=error)


def _readable(registration: Registration, job: Claimed) -> JobContract | None:
    try:
        return registration.contract.model_validate(job.payload)
    except ValidationError:
        return None


def _enqueue_children(tx: Connection, job: Claimed, children: Sequence[JobContract]) -> None:
    if children:
        enqueue_many(
            tx,
            job.tenant_id,
            [NewJob(job=child) for child in children],
            parent_id=job.id,
            traceparent=job.traceparent,
        )


def _refused(outcome: object) -> tuple[Retry | Dead, dict[str, str]]:
    """A handler's own Retry or Dead; anything else that it returned is a bug."""
    match outcome:
        case Retry(reason):
            return outcome, {"code": "retry", "type": "Retry", "message": reason}
        case Dead(reason, code):
            return outcome, {"code": code, "type": "Dead", "message": reason}
    message = f"The handler returned {type(outcome).__name__}, which is not an outcome."
    return Dead(message, "bad_outcome"), {"code": "bad_outcome", "type": "Bug", "message": message}


def _describe(error: Exception, code: str) -> dict[str, str]:
    trace = "".join(traceback.format_exception(error))
    return {
        "code": code,
        "type": type(error).__name__,
        "message": str(error)[:_MAX_MESSAGE_CHARS],
        "traceback": trace[-_MAX_TRACEBACK_CHARS:],
    }


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


def _ids(job: Claimed) -> dict[str, object]:
    return {
        "job_id": str(job.id),
        "kind": job.kind,
        "tenant_id": str(job.tenant_id),
        "attempt": job.attempt,
    }
