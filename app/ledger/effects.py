"""Effects elsewhere: the intent is recorded before the call, the result after it.

Between the two a process may die, and then nobody knows whether the other side acted. Where it honours
an idempotency key the call is simply made again with the same key, and acts once. Where it honours none,
ask for `repeatable=False`: the call is then never made a second time, and a person decides.
"""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from app.errors import LostLease
from app.ledger.job_error import printable_json
from app.ledger.store import Claimed

_BEGIN = text("""
    WITH mine AS (
        SELECT id FROM jobs WHERE id = :job_id AND attempt = :attempt AND state = 'running'
    ), begun AS (
        INSERT INTO effects (job_id, name, attempt, begun_at)
        SELECT id, :name, :attempt, clock_timestamp() FROM mine
        ON CONFLICT (job_id, name) DO NOTHING
        RETURNING job_id
    )
    SELECT EXISTS (SELECT FROM mine) AS owned, EXISTS (SELECT FROM begun) AS first,
           before.done_at IS NOT NULL AS done, before.result
    FROM (SELECT 1) AS one
    LEFT JOIN effects before ON before.job_id = :job_id AND before.name = :name
""")
_FINISH = text("""
    UPDATE effects SET done_at = clock_timestamp(), result = CAST(:result AS jsonb)
    WHERE job_id = :job_id AND name = :name AND done_at IS NULL
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """`first` says that no attempt has begun this effect before; `done` that its `result` is known."""

    first: bool
    done: bool
    result: Any


def begin_effect(tx: Connection, job: Claimed, name: str) -> Begun:
    """Record the intent. Raises LostLease when the job is no longer this attempt's."""
    row = tx.execute(_BEGIN, {"job_id": job.id, "attempt": job.attempt, "name": name}).one()
    if not row.owned:
        raise LostLease(f"job {job.id} is no longer attempt {job.attempt}'s")
    return Begun(first=row.first, done=row.done, result=row.result)


def as_json(result: object) -> Any:
    """The result as every attempt gets to see it: as JSON holds it, with text that PostgreSQL can store.

    Raises TypeError or ValueError for what JSON has no word for.
    """
    return printable_json(json.loads(json.dumps(result, allow_nan=False)))


def finish_effect(tx: Connection, job: Claimed, name: str, result: Any) -> None:
    """Record the result, also when the lease is lost meanwhile: what happened has happened."""
    tx.execute(_FINISH, {"job_id": job.id, "name": name, "result": json.dumps(result)})


def idempotency_key(job: Claimed, name: str) -> str:
    """What the other side is given: the same in every attempt and every replay of the job."""
    return f"{job.id}:{name}"
