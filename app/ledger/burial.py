"""Dead letters: one for each death of a job, written in the transaction in which it dies; and one for
each message that the broker gave up and that belongs to no job.
"""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from app.ids import new_id
from app.ledger.aftermath import Aftermaths, Ending, Subject, follow_end
from app.ledger.ending import end_from_outside, stand_still
from app.ledger.incidents import count_death
from app.ledger.job_error import JobError
from app.ledger.state import Event, State

_SUBJECT = text("""
    SELECT id, tenant_id, kind, version, payload, traceparent, state FROM jobs WHERE id = :job_id
""")
_LETTER = text("""
    INSERT INTO dead_letters (id, incident_id, job_id, tenant_id, kind, queue, code, error, attempt,
                              first_failed_at, last_failed_at, body, headers, x_death)
    SELECT :id, :incident_id, j.id, j.tenant_id, j.kind, j.queue, :code, CAST(:error AS jsonb),
           j.attempt,
           coalesce((SELECT min(h.at) FROM job_history h
                     WHERE h.job_id = j.id
                       AND h.event IN ('retry', 'take_over', 'rescue', 'die')
                       AND h.id > (SELECT coalesce(max(r.id), 0) FROM job_history r
                                   WHERE r.job_id = j.id AND r.event = 'replay')),
                    clock_timestamp()),
           clock_timestamp(), :body, CAST(:headers AS jsonb), CAST(:x_death AS jsonb)
    FROM jobs j WHERE j.id = :job_id
""")
_ATTACH = text("""
    UPDATE dead_letters SET body = :body, headers = CAST(:headers AS jsonb),
                            x_death = CAST(:x_death AS jsonb)
    WHERE job_id = :job_id AND state <> 'replayed' AND x_death IS NULL
""")
_STRAY = text("""
    INSERT INTO dead_letters (id, incident_id, kind, queue, code, error, first_failed_at,
                              last_failed_at, body, headers, x_death, message_key)
    VALUES (:id, :incident_id, :kind, :queue, :code, CAST(:error AS jsonb), clock_timestamp(),
            clock_timestamp(), :body, CAST(:headers AS jsonb), CAST(:x_death AS jsonb), :message_key)
    ON CONFLICT (message_key) DO NOTHING
    RETURNING id
""")
_STRAY_KNOWN = text("SELECT EXISTS (SELECT FROM dead_letters WHERE message_key = :message_key)")

MAX_BODY_CHARS = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """A message as the broker gave it up: its text (cut at MAX_BODY_CHARS), headers and `x-death` list.

    `key` is the same when the broker hands out the same message again.
    """

    key: str
    queue: str | None
    body: str
    headers: dict[str, Any]
    x_death: list[dict[str, Any]]


def bury(
    tx: Connection,
    aftermaths: Aftermaths,
    job_id: UUID,
    event: Event,
    error: JobError,
    *,
    sources: frozenset[State],
    wire: Wire | None = None,
) -> bool:
    """End a job that no worker holds: expire it, or bury it on the broker's word. False, and nothing
    done, when it isn't in one of the `sources` any more, or is to expire and has no deadline any more.
    """
    with tx.begin_nested() as all_or_nothing:
        row = tx.execute(_SUBJECT, {"job_id": job_id}).one_or_none()
        if row is None or State(row.state) not in sources:
            return False
        facts = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
        del facts["state"]
        follow_end(tx, aftermaths, Subject(**facts), Ending(state=State.DEAD, error=error))
        job = stand_still(tx, job_id)
        in_time = event is Event.EXPIRE and job is not None and not job.overdue
        if job is None or job.state not in sources or in_time:
            all_or_nothing.rollback()
            return False
        end_from_outside(tx, job_id, event, error, was=job.state)
        record_death(tx, job_id, row.kind, error, wire=wire)
    return True


def record_death(
    tx: Connection, job_id: UUID, kind: str, error: JobError, *, wire: Wire | None = None
) -> None:
    """The dead letter of a job that has just become `dead` in this transaction."""
    tx.execute(
        _LETTER,
        {
            "id": new_id(),
            "incident_id": count_death(tx, kind, error),
            "job_id": job_id,
            "code": error["code"],
            "error": json.dumps(error),
            **_wire_facts(wire),
        },
    )


def attach(tx: Connection, job_id: UUID, wire: Wire) -> None:
    """Add the broker's side to the job's dead letter: the one that no replay has closed."""
    tx.execute(_ATTACH, {"job_id": job_id, **_wire_facts(wire)})


def bury_stray(
    tx: Connection, wire: Wire, *, kind: str | None, error: JobError, again: bool
) -> None:
    """Keep a message that belongs to no job. One that the broker hands out `again` is kept once; the same
    words sent twice are two.
    """
    known = tx.execute(_STRAY_KNOWN, {"message_key": wire.key}).scalar_one()
    if known and again:
        return
    letter = {
        "id": new_id(),
        "incident_id": count_death(tx, kind, error),
        "kind": kind,
        "queue": wire.queue,
        "code": error["code"],
        "error": json.dumps(error),
        "message_key": wire.key,
        **_wire_facts(wire),
    }
    if tx.execute(_STRAY, letter).one_or_none() is None:  # known, maybe only since a moment ago
        tx.execute(_STRAY, {**letter, "message_key": f"{wire.key}/{letter['id']}"})


def _wire_facts(wire: Wire | None) -> dict[str, str | None]:
    if wire is None:
        return {"body": None, "headers": None, "x_death": None}
    return {
        "body": wire.body,
        "headers": json.dumps(wire.headers),
        "x_death": json.dumps(wire.x_death),
    }
