"""Which dispatchers and workers there are: each says so every few seconds, for the console."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Connection, text

SECONDS = 10.0
"""How often they say so."""
MISSED_BEATS = 3
"""Who has missed so many is gone."""
MAX_SHOWN = 200

_BEAT = text("""
    INSERT INTO processes AS p (name, role, queues, slots, chores, started_at, seen_at)
    VALUES (:name, :role, :queues, :slots, CAST(:chores AS jsonb), clock_timestamp(), clock_timestamp())
    ON CONFLICT (name) DO UPDATE
    SET role = excluded.role, queues = excluded.queues, slots = excluded.slots,
        chores = excluded.chores, seen_at = excluded.seen_at
""")
_GONE = text("DELETE FROM processes WHERE name = :name")
_WORKERS = text("""
    SELECT name FROM processes
    WHERE role = 'worker' AND :queue = ANY(string_to_array(queues, ', '))
      AND seen_at > clock_timestamp() - make_interval(secs => :seconds)
""")
_SEEN = text("""
    WITH running AS (
        SELECT j.worker, count(*) AS busy
        FROM (SELECT job_id FROM in_flight LIMIT 10000) f JOIN jobs j ON j.id = f.job_id
        WHERE j.state = 'running' GROUP BY j.worker
    )
    SELECT p.name, p.role, p.queues, p.slots, p.chores, p.seen_at, coalesce(r.busy, 0) AS busy
    FROM processes p LEFT JOIN running r ON r.worker = p.name
    WHERE p.seen_at > clock_timestamp() - interval '15 minutes'
    ORDER BY p.role, p.queues, p.name LIMIT :limit
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSeen:
    """A process that was there in the last 15 minutes. `busy` is how many jobs it runs now, by the ledger."""

    name: str
    role: str
    queues: str
    slots: int
    busy: int
    chores: Mapping[str, datetime] = field(default_factory=dict)
    seen_at: datetime


def beat(
    tx: Connection,
    *,
    name: str,
    role: str,
    queues: str = "",
    slots: int = 0,
    chores: Mapping[str, float] | None = None,
) -> None:
    """It is there. A worker's name is that of its node, which jobs carry."""
    facts = {"name": name, "role": role, "queues": queues, "slots": slots}
    tx.execute(_BEAT, {**facts, "chores": json.dumps(dict(chores or {}))})


def leave(tx: Connection, name: str) -> None:
    """It has ended in good order."""
    tx.execute(_GONE, {"name": name})


def workers_on(tx: Connection, queue: str) -> list[str]:
    """The names of those that serve the queue, in no order: who has missed MISSED_BEATS does not."""
    facts = {"queue": queue, "seconds": MISSED_BEATS * SECONDS}
    return list(tx.execute(_WORKERS, facts).scalars())


def seen(tx: Connection) -> list[ProcessSeen]:
    """Those of late, dispatchers first."""
    return [
        ProcessSeen(
            **{
                **row._mapping,  # noqa: SLF001 - SQLAlchemy's public name for it
                "chores": {
                    name: datetime.fromtimestamp(at, UTC) for name, at in (row.chores or {}).items()
                },
            }
        )
        for row in tx.execute(_SEEN, {"limit": MAX_SHOWN})
    ]
