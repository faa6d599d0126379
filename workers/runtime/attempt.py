"""One attempt at a job: what a handler is given, and what its answer means."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, Engine

from app.errors import LockBusy, LostLease
from app.ledger.aftermath import Aftermaths
from app.ledger.contract import JobContract, UnreadablePayload
from app.ledger.flows import Flow, enqueue_flows
from app.ledger.job_error import JobError, describe_exception, job_error
from app.ledger.put_off import DATABASE_AWAY, STORE_AWAY
from app.ledger.store import Claimed
from app.mailing.smtp import Mailer
from app.outages import is_database_away, is_store_away
from app.plurals import counted
from app.settings import Settings
from workers.runtime.context import Context
from workers.runtime.forked import call_here
from workers.runtime.lease import LeaseKeeper
from workers.runtime.outcome import Cancel, Dead, Done, Outcome, PermanentError, Retry, Snooze
from workers.runtime.registry import Registration, registrations
from workers.runtime.store_watch import StoreWatch

SOFT_TIME_LIMIT = "soft_time_limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message as it came: `redelivered` is the broker's flag, `worker` our name in the history,
    `attempt` the one that the message was sent for, `traceparent` what it carries; `alone`: it is for no
    other job.
    """

    job_id: UUID
    kind: str
    attempt: int
    worker: str
    redelivered: bool
    traceparent: str | None = None
    alone: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What one worker process shares between its jobs. `soft_timeout` is the pool's own exception."""

    engine: Engine
    store: StoreWatch
    mailer: Mailer
    settings: Settings
    leases: LeaseKeeper
    soft_timeout: type[Exception]
    aftermaths: Aftermaths


@dataclass(frozen=True, slots=True)
class Hindrance:
    """A server's absence, by its `code`. `still`: it was asked when the attempt was over, and didn't answer."""

    code: str
    server: str
    still: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an attempt; `error` is why, where it failed. `raised`: the handler broke down; `hindrance`: because of
    this, it seems.
    """

    outcome: Outcome
    error: JobError | None = None
    raised: bool = False
    hindrance: Hindrance | None = None


def context_of(runtime: Runtime, job: Claimed, *, connection: Connection | None = None) -> Context:
    """What the job's handler gets; `connection` is its transaction, where there is one already."""
    registration = registrations().get(job.kind)
    return Context(
        job,
        engine=runtime.engine,
        store=runtime.store,
        mailer=runtime.mailer,
        settings=runtime.settings,
        brief=registration is not None and registration.contract.spec.brief,
        connection=connection,
    )


def judge(runtime: Runtime, context: Context) -> Verdict:
    """Run the handler and say what came of it. Raises LostLease and LockBusy, and what ends the process.

    Not all that a handler fails with is an Exception: asyncio.CancelledError isn't. If it went on, Celery would give up
    the whole message, and with it the jobs that travel together.
    """
    job = context.job
    try:
        registration, payload = _resolve(job)
        outcome = call_here(registration.handler, context, payload)
    except (LostLease, LockBusy, SystemExit, KeyboardInterrupt):
        raise
    except BaseException as bad:  # noqa: BLE001 - the one place that classifies what handlers raise
        return blame(runtime, bad)
    return Verdict(outcome) if isinstance(outcome, (Done, Snooze, Cancel)) else _refused(outcome)


def blame(runtime: Runtime, bad: BaseException) -> Verdict:
    """Permanent errors are the end, all others are worth another try; but where a server was away neither is true of
    the job.
    """
    hindrance = _hindrance(runtime, bad)
    if isinstance(bad, PermanentError):
        error = describe_exception(bad, bad.code)
        return Verdict(Dead(error["message"], error["code"]), error, hindrance=hindrance)
    code = SOFT_TIME_LIMIT if isinstance(bad, runtime.soft_timeout) else "exception"
    error = describe_exception(bad, code)
    return Verdict(Retry(error["message"]), error, raised=True, hindrance=hindrance)


def _hindrance(runtime: Runtime, bad: BaseException) -> Hindrance | None:
    """A store that hangs may be seen by nothing but the time limit."""
    if is_database_away(bad):
        return Hindrance(DATABASE_AWAY, "database", still=False)  # what records this has reached it
    timed_out = isinstance(bad, runtime.soft_timeout)
    if timed_out or is_store_away(bad):
        still = runtime.store.is_away()
        if still or not timed_out:
            return Hindrance(STORE_AWAY, "object store", still=still)
    return None


def _resolve(job: Claimed) -> tuple[Registration, JobContract]:
    """The handler and the payload. Raises PermanentError for what no retry can mend."""
    if job.attempt > job.max_attempts:
        raise PermanentError(
            f"The worker was lost each time, in {counted(job.max_attempts, 'attempt')}.",
            code="worker_lost",
        )
    registration = registrations().get(job.kind)
    if registration is None:
        raise PermanentError(f"This worker knows no kind {job.kind!r}.", code="unknown_kind")
    try:
        return registration, registration.contract.read(job.version, job.payload)
    except UnreadablePayload as unreadable:
        raise PermanentError(str(unreadable), code=unreadable.code) from None


def enqueue_children(tx: Connection, job: Claimed, children: Sequence[Flow]) -> None:
    """What a job that is done has follow."""
    if children:
        enqueue_flows(tx, job.tenant_id, children, parent_id=job.id, traceparent=job.traceparent)


def _refused(outcome: object) -> Verdict:
    """A handler's own Retry or Dead; anything else that it returned is a bug."""
    match outcome:
        case Retry(reason):
            return Verdict(outcome, {**job_error("retry", reason), "type": "Retry"})
        case Dead(reason, code):
            return Verdict(outcome, {**job_error(code, reason), "type": "Dead"})
    message = f"The handler returned {type(outcome).__name__}, which is not an outcome."
    return Verdict(
        Dead(message, "bad_outcome"), {**job_error("bad_outcome", message), "type": "Bug"}
    )
