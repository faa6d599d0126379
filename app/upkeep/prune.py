"""Forgetting, step by step: each call removes a little and says where the next one goes on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from sqlalchemy import Connection, TextClause, text

from app.ledger.prune import (
    BATCH,
    Pruned,
    prune_batches,
    prune_dead_letters,
    prune_incidents,
    prune_jobs,
)

_KEYS = text("""
    DELETE FROM idempotency_keys WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM idempotency_keys
        WHERE created_at < clock_timestamp() - make_interval(days => :days)
        ORDER BY created_at LIMIT :batch FOR UPDATE SKIP LOCKED))
""")
# A schedule's newest slot stays: it says when the schedule last ran.
_SLOTS = text("""
    DELETE FROM schedule_slots WHERE ctid = ANY(ARRAY(
        SELECT slot.ctid FROM schedule_slots slot
        WHERE slot_at < clock_timestamp() - make_interval(days => :days)
          AND NOT EXISTS (SELECT FROM schedules s
                          WHERE s.id = slot.schedule_id AND s.last_slot_at = slot.slot_at)
        ORDER BY slot_at LIMIT :batch FOR UPDATE OF slot SKIP LOCKED))
""")
_UPLOADS = text("""
    DELETE FROM uploads WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM uploads
        WHERE status <> 'open' AND created_at < clock_timestamp() - make_interval(days => :days)
        ORDER BY created_at LIMIT :batch FOR UPDATE SKIP LOCKED))
""")
_MAILS = text("""
    DELETE FROM mails WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM mails
        WHERE created_at < clock_timestamp() - make_interval(days => :days)
        ORDER BY created_at LIMIT :batch FOR UPDATE SKIP LOCKED))
""")
# What couldn't be applied stays: it is of use until it has been.
_PAYMENT_EVENTS = text("""
    DELETE FROM payment_events WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM payment_events
        WHERE state <> 'received' AND received_at < clock_timestamp() - make_interval(days => :days)
        ORDER BY received_at LIMIT :batch FOR UPDATE SKIP LOCKED))
""")
# What is still to be delivered stays; an event goes with its last delivery.
_DELIVERIES = text("""
    DELETE FROM webhook_deliveries WHERE id IN (
        SELECT id FROM webhook_deliveries
        WHERE state <> 'pending' AND finished_at < clock_timestamp() - make_interval(days => :days)
        LIMIT :batch FOR UPDATE SKIP LOCKED)
""")
_EVENTS = text("""
    DELETE FROM webhook_events WHERE id IN (
        SELECT id FROM webhook_events e
        WHERE created_at < clock_timestamp() - make_interval(days => :days)
          AND NOT EXISTS (SELECT FROM webhook_deliveries d WHERE d.event_id = e.id)
        ORDER BY created_at LIMIT :batch FOR UPDATE SKIP LOCKED)
""")
# The objects of expired ones are the janitor's.
_EXPORTS = text("""
    DELETE FROM exports WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM exports
        WHERE finished_at < clock_timestamp() - make_interval(days => :days)
          AND (expires_at IS NULL OR expires_at < clock_timestamp())
        LIMIT :batch FOR UPDATE SKIP LOCKED))
""")
# What nothing points to: queries, and texts that have changed since. A claim that was given up goes too.
_AI_RESULTS = text("""
    DELETE FROM ai_results WHERE ctid = ANY(ARRAY(
        SELECT r.ctid FROM ai_results r
        WHERE created_at < clock_timestamp() - make_interval(days => :days)
          AND NOT EXISTS (SELECT FROM ai_passages p
                          WHERE p.tenant_id = r.tenant_id AND p.hash = r.hash)
          AND NOT EXISTS (SELECT FROM ai_labels l
                          WHERE l.tenant_id = r.tenant_id AND l.hash = r.hash)
        ORDER BY created_at LIMIT :batch FOR UPDATE OF r SKIP LOCKED))
""")
_AI_SUBJECTS = text("""
    DELETE FROM ai_subjects WHERE ctid = ANY(ARRAY(
        SELECT s.ctid FROM ai_subjects s
        WHERE NOT EXISTS (SELECT FROM contacts c WHERE c.id = s.id AND s.kind = 'contacts')
          AND NOT EXISTS (SELECT FROM documents d WHERE d.id = s.id AND s.kind = 'documents')
          AND seen_at < clock_timestamp() - interval '1 hour' AND :days > 0
        LIMIT :batch FOR UPDATE OF s SKIP LOCKED))
""")
_AI_LABELS = text("""
    DELETE FROM ai_labels WHERE ctid = ANY(ARRAY(
        SELECT l.ctid FROM ai_labels l
        WHERE NOT EXISTS (SELECT FROM contacts c WHERE c.id = l.subject_id AND l.kind = 'contacts')
          AND NOT EXISTS (SELECT FROM documents d WHERE d.id = l.subject_id AND l.kind = 'documents')
          AND created_at < clock_timestamp() - interval '1 hour' AND :days > 0
        LIMIT :batch FOR UPDATE OF l SKIP LOCKED))
""")
# Before-images are most of what an import leaves behind; without them it can't be undone any more.
_UNDO_DATA = text("""
    UPDATE import_chunks SET before = NULL, inserted_ids = NULL
    WHERE (import_id, index) IN (
        SELECT c.import_id, c.index
        FROM imports i JOIN import_chunks c ON c.import_id = i.id
        WHERE i.finished_at < clock_timestamp() - make_interval(days => :days)
          AND (c.before IS NOT NULL OR c.inserted_ids IS NOT NULL)
        LIMIT :batch FOR UPDATE OF c SKIP LOCKED)
""")
_UNDO_BATCH = 50
"""Chunks; each may hold as many before-images as it has rows."""


class Step(Protocol):
    """Removes a batch; `after` is what the step's batch before returned, None at first."""

    def __call__(self, tx: Connection, after: str | None, *, days: int, batch: int) -> Pruned:
        """See the class."""


def _rows(statement: TextClause) -> Step:
    def step(tx: Connection, after: str | None, *, days: int, batch: int) -> Pruned:  # noqa: ARG001
        removed = tx.execute(statement, {"days": days, "batch": batch}).rowcount
        return Pruned(removed, "again" if removed == batch else None)

    return step


def _undo_data(tx: Connection, after: str | None, *, days: int, batch: int) -> Pruned:  # noqa: ARG001
    size = min(batch, _UNDO_BATCH)
    removed = tx.execute(_UNDO_DATA, {"days": days, "batch": size}).rowcount
    return Pruned(removed, "again" if removed == size else None)


STEPS: Mapping[str, Step] = MappingProxyType(
    {
        "jobs": prune_jobs,
        "batches": prune_batches,
        "dead_letters": prune_dead_letters,
        "incidents": prune_incidents,
        "idempotency_keys": _rows(_KEYS),
        "schedule_slots": _rows(_SLOTS),
        "uploads": _rows(_UPLOADS),
        "mails": _rows(_MAILS),
        "payment_events": _rows(_PAYMENT_EVENTS),
        "webhook_deliveries": _rows(_DELIVERIES),
        "webhook_events": _rows(_EVENTS),
        "exports": _rows(_EXPORTS),
        "import_undo_data": _undo_data,
        "ai_subjects": _rows(_AI_SUBJECTS),
        "ai_labels": _rows(_AI_LABELS),
        "ai_results": _rows(_AI_RESULTS),
    }
)
"""In this order: jobs hold on to batches, dead letters to jobs, incidents to dead letters, and what models
answered is held on to by who uses it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a clean-up stands: in `step`, which is None at the end, behind `after`."""

    step: str | None = next(iter(STEPS))
    after: str | None = None
    removed: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, saved: dict[str, Any] | None) -> "Place":
        """As a checkpoint kept it; the beginning without one."""
        return cls(**saved) if saved else cls()


def prune_some(tx: Connection, place: Place, *, days: int, batch: int = BATCH) -> Place:
    """Do the next batch of the step that `place` is in; returns the place after it."""
    if place.step is None:
        return place
    pruned = STEPS[place.step](tx, place.after, days=days, batch=batch)
    removed = {**place.removed, place.step: place.removed.get(place.step, 0) + pruned.removed}
    if pruned.after is not None:
        return Place(step=place.step, after=pruned.after, removed=removed)
    names = list(STEPS)
    following = names[names.index(place.step) + 1 :]
    return Place(step=following[0] if following else None, removed=removed)
