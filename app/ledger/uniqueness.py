"""Unique keys: for how long a job has its key to itself, and what a post meets whose key is taken.

A key is held by the row of the job (a unique index). It lapses with the dispatch or the end of the job, in the
same commit (a trigger, migration `unique_windows`), or when its time is over, by whoever asks for it then. A
lapsed key stays on the job for who reads it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Connection, text

DEFAULT_DEBOUNCES = 10
"""So many times `seconds` a job is put off at most, where nothing else is said."""

_HOLDER = text("""
    SELECT id, debounce_until IS NOT NULL AS debounced,
           coalesce(unique_lapses_at <= clock_timestamp(), false) AS lapsed
    FROM jobs WHERE tenant_id = :tenant_id AND kind = :kind AND unique_key = :unique_key
""")
_LAPSE = text("""
    UPDATE jobs SET lapsed_key = unique_key, unique_key = NULL
    WHERE id = :id AND unique_key IS NOT NULL AND unique_lapses_at <= clock_timestamp()
""")
# The row's lock decides between this and a dispatch. One that is queued has no such key any more.
_REPLACE = text("""
    WITH moved AS (
        UPDATE jobs
        SET payload = CAST(:payload AS jsonb), version = :version,
            run_at = least(clock_timestamp() + make_interval(secs => :seconds), debounce_until),
            concurrency_key = CAST(:concurrency AS jsonb) ->> 'concurrency_key',
            concurrency_limit = CAST(CAST(:concurrency AS jsonb) ->> 'concurrency_limit' AS smallint),
            in_order = coalesce(CAST(CAST(:concurrency AS jsonb) ->> 'in_order' AS boolean), false),
            key_given = coalesce(CAST(CAST(:concurrency AS jsonb) ->> 'key_given' AS boolean), false)
        WHERE id = :id AND state = 'scheduled' AND unique_key IS NOT NULL
        RETURNING id, tenant_id, run_at, attempt
    ), boxed AS (
        UPDATE outbox SET run_at = moved.run_at, ready = false, parked = false
        FROM moved WHERE outbox.job_id = moved.id
    ), logged AS (
        INSERT INTO job_history (tenant_id, job_id, at, event, from_state, to_state, attempt)
        SELECT tenant_id, id, clock_timestamp(), 'debounce', 'scheduled', 'scheduled', attempt
        FROM moved
    )
    SELECT id, pg_notify('millrace_outbox', '') FROM moved
""")


class UniqueUntil(StrEnum):
    """Which states count. `PUBLISHED`: waiting and scheduled, up to the first dispatch. `ENDED`: those, queued
    and running; a retry doesn't end a job.
    """

    PUBLISHED = "published"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Debounce:
    """The job runs `seconds` after the newest post with its unique key, with that one's payload; and not later
    than `max_seconds` after the first.
    """

    seconds: float
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.most < self.seconds:
            raise ValueError(f"a debounce needs 0 < seconds <= max_seconds: {self}")

    @property
    def most(self) -> float:
        """In seconds."""
        return DEFAULT_DEBOUNCES * self.seconds if self.max_seconds is None else self.max_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """What a post puts in the place of an earlier one's; `payload` as JSON."""

    payload: str
    version: int
    seconds: float
    concurrency: Mapping[str, object]
    """Its key, limit and order; empty without a key."""


def meet(
    tx: Connection, tenant_id: UUID, kind: str, unique_key: str, replacement: Replacement | None
) -> UUID | None:
    """The job that holds the key, with `replacement` in it if it is one that is put off and hasn't been sent.
    None when the key is free by now: insert again.

    Waits for whoever has that job's row: for a dispatcher, its commit.
    """
    asked = {"tenant_id": tenant_id, "kind": kind, "unique_key": unique_key}
    holder = tx.execute(_HOLDER, asked).one_or_none()
    if holder is None:
        return None
    if holder.lapsed:
        tx.execute(_LAPSE, {"id": holder.id})
        return None
    found: UUID = holder.id
    if replacement is None or not holder.debounced:
        return found
    facts = {
        "id": found,
        "payload": replacement.payload,
        "version": replacement.version,
        "seconds": replacement.seconds,
        "concurrency": json.dumps(replacement.concurrency),
    }
    return None if tx.execute(_REPLACE, facts).one_or_none() is None else found
