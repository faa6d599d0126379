"""Whose turn it is: round robin over the tenants that have something due, queue by queue.

A lap goes through the tenants of a queue in the order of their ids, from where the last round stopped. Each
gets a share of the room that there is, by its weight; what one leaves is for the next round. Where a lap
stands is the dispatcher's own knowledge: another one, or a new one, is elsewhere in it, which is as fair.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import Connection, text

from app.ledger.rules import Rules, Scope

# One step of the index a tenant, however much it has in the backlog.
_VISIT = """
    WITH RECURSIVE lap AS (
        SELECT (
            SELECT o.tenant_id FROM outbox o
            WHERE o.ready AND o.queue = :queue {behind}
            ORDER BY o.tenant_id LIMIT 1
        ) AS tenant_id, 1 AS number
        UNION ALL
        SELECT (
            SELECT o.tenant_id FROM outbox o
            WHERE o.ready AND o.queue = :queue AND o.tenant_id > lap.tenant_id
            ORDER BY o.tenant_id LIMIT 1
        ), number + 1
        FROM lap WHERE lap.tenant_id IS NOT NULL AND number < :steps
    )
    SELECT tenant_id FROM lap WHERE tenant_id IS NOT NULL ORDER BY number
"""
VISIT_FIRST = text(_VISIT.format(behind=""))
VISIT_BEHIND = text(_VISIT.format(behind="AND o.tenant_id > :behind"))
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


def visit(tx: Connection, queue: str, lap: Lap, *, steps: int) -> Seen:
    """The next tenants of the lap that have something due, at most `steps`."""
    if lap.behind is None:
        found = list(tx.execute(VISIT_FIRST, {"queue": queue, "steps": steps}).scalars())
        return Seen(found, whole=len(found) < steps, wrapped=True)
    facts = {"queue": queue, "steps": steps, "behind": lap.behind}
    found = list(tx.execute(VISIT_BEHIND, facts).scalars())
    if len(found) == steps:
        return Seen(found, whole=False, wrapped=False)
    left = steps - len(found)
    again = list(tx.execute(VISIT_FIRST, {"queue": queue, "steps": left}).scalars())
    before = [tenant for tenant in again if tenant <= lap.behind]
    return Seen([*found, *before], whole=len(before) < left, wrapped=True)


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
