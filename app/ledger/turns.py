"""Whose turn it is: round robin over the tenants that have something due, queue by queue.

A lap goes through the tenants of a queue in the order of their ids, from where the last round stopped. Each
gets a share of the room that there is, by its weight; what one leaves is for the next round. Where a lap
stands is the dispatcher's own knowledge: another one, or a new one, is elsewhere in it, which is as fair.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import Connection, text

from app.db import execute_prepared
from app.ledger.rules import Rules, Scope

# One step of the index a tenant, however much it has in the backlog.
VISIT = text("""
    SELECT queue.name, lap.tenant_id
    FROM jsonb_to_recordset(CAST(:queues AS jsonb)) AS queue(name text, behind uuid, steps int)
    CROSS JOIN LATERAL (
        WITH RECURSIVE lap AS (
            SELECT CASE WHEN queue.behind IS NULL THEN (
                SELECT o.tenant_id FROM outbox o WHERE o.ready AND o.queue = queue.name
                ORDER BY o.tenant_id LIMIT 1
            ) ELSE (
                SELECT o.tenant_id FROM outbox o
                WHERE o.ready AND o.queue = queue.name AND o.tenant_id > queue.behind
                ORDER BY o.tenant_id LIMIT 1
            ) END AS tenant_id, 1 AS number
            UNION ALL
            SELECT (
                SELECT o.tenant_id FROM outbox o
                WHERE o.ready AND o.queue = queue.name AND o.tenant_id > lap.tenant_id
                ORDER BY o.tenant_id LIMIT 1
            ), number + 1
            FROM lap WHERE lap.tenant_id IS NOT NULL AND number < queue.steps
        )
        SELECT tenant_id, number FROM lap WHERE tenant_id IS NOT NULL
    ) lap
    ORDER BY queue.name, lap.number
""")
_PLANS = text("SELECT id, plan FROM tenants WHERE id = ANY(:ids)")
# Dispatchers that count what is in flight take turns, so that none counts what another is about to add.
_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended('millrace dispatch limits', 0))")
_IN_FLIGHT = text("SELECT tenant_id, kind, count(*) AS jobs FROM in_flight GROUP BY 1, 2")

_STEPS_BEYOND = 500
"""So many paused tenants are passed in one round, beside those that are served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """At most `share` jobs of a tenant; `curbed` says that its limit allows no more."""

    tenant_id: UUID
    share: int
    weight: int
    curbed: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """Tenants in the order of the lap; `whole`: there are no others. `wrapped`: the lap's end was among them."""

    tenants: Sequence[UUID]
    whole: bool
    wrapped: bool


@dataclass(slots=True)
class Lap:
    """Where the lap of a queue stands: behind that tenant, or at its start."""

    behind: UUID | None = None
    took: bool = False

    def move(self, last: UUID | None, seen: Seen, *, taken: int, full_shares: bool) -> bool:
        """On to behind `last`. Whether a further round may find something now: one that has come by all
        tenants and took nothing from any ends it.
        """
        took = self.took or taken > 0
        self.behind = last
        self.took = taken > 0 if seen.wrapped else took
        if seen.whole:
            return full_shares
        return took if seen.wrapped else True


@dataclass(slots=True)
class Quota:
    """What may still be sent, by kind and by tenant; who isn't in there has no limit."""

    kinds: dict[str, int] = field(default_factory=dict)
    running: dict[UUID, int] = field(default_factory=dict)

    @property
    def exhausted(self) -> list[str]:
        """The kinds of which nothing more may be sent."""
        return [kind for kind, free in self.kinds.items() if free <= 0]


def visit(tx: Connection, queues: Mapping[str, tuple[Lap, int]]) -> dict[str, Seen]:
    """The next tenants of each queue's lap that have something due, at most so many."""
    first = _visit(tx, {queue: (lap.behind, steps) for queue, (lap, steps) in queues.items()})
    left = {
        queue: steps - len(first[queue])
        for queue, (lap, steps) in queues.items()
        if lap.behind is not None and len(first[queue]) < steps
    }
    again = _visit(tx, {queue: (None, steps) for queue, steps in left.items()})
    return {
        queue: _seen(lap, steps, first[queue], again.get(queue, []))
        for queue, (lap, steps) in queues.items()
    }


def _seen(lap: Lap, steps: int, first: Sequence[UUID], again: Sequence[UUID]) -> Seen:
    if lap.behind is None or len(first) == steps:
        return Seen(first, whole=len(first) < steps, wrapped=lap.behind is None)
    before = [tenant for tenant in again if tenant <= lap.behind]
    return Seen([*first, *before], whole=len(first) + len(before) < steps, wrapped=True)


def _visit(tx: Connection, wanted: Mapping[str, tuple[UUID | None, int]]) -> dict[str, list[UUID]]:
    found: dict[str, list[UUID]] = {queue: [] for queue in wanted}
    if wanted:
        facts = [
            {"name": queue, "behind": None if behind is None else str(behind), "steps": steps}
            for queue, (behind, steps) in wanted.items()
        ]
        rows = execute_prepared(tx, VISIT, {"queues": json.dumps(facts)})
        for queue, tenant_id in rows:
            found[queue].append(tenant_id)
    return found


def steps_for(room: int, rules: Rules) -> int:
    """How many tenants a round looks at: those that it can serve, and some that are paused."""
    return room + min(_STEPS_BEYOND, len(rules.paused(Scope.TENANT)))


def plans_of(tx: Connection, rules: Rules, tenants: Iterable[UUID]) -> Mapping[UUID, str]:
    """On which plan they are, where it matters."""
    if not rules.by_plan:
        return {}
    return {row.id: row.plan for row in tx.execute(_PLANS, {"ids": list(tenants)})}


def quota_of(tx: Connection, rules: Rules) -> Quota:
    """By what is in flight now, until this transaction ends. Nothing is counted where nothing is limited."""
    if not rules.limited:
        return Quota()
    tx.execute(_ALONE)
    kinds = rules.limits(Scope.KIND)
    running: dict[UUID, int] = {}
    for row in tx.execute(_IN_FLIGHT):
        running[row.tenant_id] = running.get(row.tenant_id, 0) + row.jobs
        if row.kind in kinds:
            kinds[row.kind] -= row.jobs
    return Quota(kinds, running)


def share_out(
    tenants: Sequence[UUID], plans: Mapping[UUID, str], rules: Rules, quota: Quota, *, room: int
) -> list[Turn]:
    """The turns of these tenants, in their order, with at least one job each; not more than there is room
    for. What is given out is added to `quota.running`.
    """
    paused = set(rules.paused(Scope.TENANT))
    served = [tenant for tenant in tenants if str(tenant) not in paused][:room]
    weights = {tenant: rules.weight(tenant, plans.get(tenant)) for tenant in served}
    total = sum(weights.values())
    turns = []
    for tenant, weight in weights.items():
        share = max(1, room * weight // total)
        limit = rules.max_running(tenant, plans.get(tenant))
        free = share if limit is None else max(0, limit - quota.running.get(tenant, 0))
        given = min(share, free)
        quota.running[tenant] = quota.running.get(tenant, 0) + given
        turns.append(
            Turn(
                tenant_id=tenant,
                share=given,
                weight=weight,
                curbed=limit is not None and free <= share,
            )
        )
    return turns
