"""What becomes of a message that the broker gave up: it is added to its job's dead letter, it ends its
job, it sends its job round again, or it is kept as it is.
"""

from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from app.broker.dead_letters import DeadMessage
from app.ledger import burial
from app.ledger.aftermath import Aftermaths
from app.ledger.burial import MAX_BODY_CHARS, Wire
from app.ledger.contract import Catalog
from app.ledger.ending import stand_still
from app.ledger.job_error import (
    JobError,
    describe_exception,
    job_error,
    printable,
    printable_json,
)
from app.ledger.rescue import rescue_queued, times_rescued
from app.ledger.state import TRANSITIONS, Event, State
from app.ledger.task_errors import take_error

MAX_RESCUES = 3
"""A job whose message comes back so often without one attempt begun is dead."""

# The newest dispatch says which message is the job's own; any other is a leftover of an earlier one.
_JOB = text("""
    SELECT j.kind, j.state,
           (SELECT max(h.attempt) FROM job_history h
            WHERE h.job_id = j.id AND h.event = 'dispatch') + 1 AS newest
    FROM jobs j WHERE j.id = :job_id
""")


class Fate(StrEnum):
    """What was done with the message."""

    ATTACHED = "attached"
    BURIED = "buried"
    RESCUED = "rescued"
    KEPT = "kept"
    STALE = "stale"


def collect(tx: Connection, catalog: Catalog, aftermaths: Aftermaths, message: DeadMessage) -> Fate:
    """Deal with one message; safe to do again when it comes back. Commit before you acknowledge it."""
    wire = _wire(message)
    job_id = message.job_id
    row = None if job_id is None else _look(tx, job_id)
    if job_id is None or row is None:
        error = _task_error(tx, catalog, message) or _stray_error(catalog, message)
        burial.bury_stray(tx, wire, kind=_kind(message), error=error, again=message.redelivered)
        return Fate.KEPT
    if message.attempt != row.newest:
        return Fate.STALE
    if row.state == State.DEAD:
        burial.attach(tx, job_id, wire)
        return Fate.ATTACHED
    if State(row.state) not in TRANSITIONS[Event.BURY].sources:
        return Fate.STALE
    return _end(tx, aftermaths, message, job_id, wire, state=State(row.state))


def keep_raw(tx: Connection, message: DeadMessage, fault: Exception) -> Fate:
    """Keep a message that `collect` failed on, with why: whatever is in it, it must not come for ever."""
    plain = printable(message.body).encode("ascii", "backslashreplace").decode()
    wire = Wire(key=message.key, queue=None, body=plain[:MAX_BODY_CHARS], headers={}, x_death=[])
    error = describe_exception(fault, "collector_fault")
    burial.bury_stray(tx, wire, kind=None, error=error, again=message.redelivered)
    return Fate.KEPT


def _look(tx: Connection, job_id: UUID) -> Row[Any] | None:
    """The job, or None. One that is being published is looked at when that is done: its message may be
    refused, and be here, before the dispatcher's commit is.
    """
    row = tx.execute(_JOB, {"job_id": job_id}).one_or_none()
    if row is None or row.state != State.SCHEDULED:
        return row
    with tx.begin_nested() as waiting:
        stand_still(tx, job_id)
        waiting.rollback()  # and let go of the row: what a burial locks before it comes first
    return tx.execute(_JOB, {"job_id": job_id}).one_or_none()


def _end(
    tx: Connection,
    aftermaths: Aftermaths,
    message: DeadMessage,
    job_id: UUID,
    wire: Wire,
    *,
    state: State,
) -> Fate:
    """The job's own message is gone."""
    never_began = state is State.QUEUED and message.reason == "delivery_limit"
    if never_began and times_rescued(tx, job_id) < MAX_RESCUES:
        # Given back again and again before any attempt began: the database was away, not the job bad.
        error = _error(message)
        rescue_queued(tx, job_id, code=error["code"], message=error["message"])
        return Fate.RESCUED
    if state is State.RUNNING and message.reason != "delivery_limit":
        return Fate.STALE  # a duplicate; the attempt that runs has a message of its own, or a lease
    buried = burial.bury(
        tx, aftermaths, job_id, Event.BURY, _error(message), sources=frozenset({state}), wire=wire
    )
    return Fate.BURIED if buried else Fate.STALE


def _error(message: DeadMessage) -> JobError:
    match message.reason:
        case "delivery_limit":
            return job_error(
                "delivery_limit",
                "The broker delivered the message as often as it may, and no worker finished it.",
            )
        case "expired":
            return job_error("message_expired", "The message's time in the queue was over.")
        case "rejected":
            return job_error(
                "refused", f"No worker on {message.queue!r} could do a {message.kind!r}."
            )
    return job_error("dead_lettered", f"The broker gave the message up: {message.reason}.")


def _task_error(tx: Connection, catalog: Catalog, message: DeadMessage) -> JobError | None:
    """Of a plain task's message: what its worker noted, or else what the broker says."""
    if message.kind is None or message.kind in catalog:
        return None
    noted = take_error(tx, str(message.headers.get("id")))
    if noted is None and message.reason != "rejected":
        return _error(message)
    return noted


def _stray_error(catalog: Catalog, message: DeadMessage) -> JobError:
    if message.job_id is not None and message.kind in catalog:
        return job_error("no_such_job", "The message names a job that the ledger doesn't have.")
    if message.kind is not None and message.kind not in catalog:
        return job_error(
            "unknown_kind",
            f"No worker knows the task {message.kind!r}, or could say why it failed.",
        )
    return job_error("undecodable", "The message is no task message that a worker can read.")


def _kind(message: DeadMessage) -> str | None:
    return None if message.kind is None else printable(message.kind)


def _wire(message: DeadMessage) -> Wire:
    return Wire(
        key=message.key,
        queue=None if message.queue is None else printable(message.queue),
        body=printable(message.body)[:MAX_BODY_CHARS],
        headers=printable_json(message.headers),
        x_death=printable_json(message.x_death),
    )
