"""Whose turn it is: round robin over the tenants that have something due, queue by queue.

A lap goes through the tenants of a queue in the order of their ids, from where the last round stopped. Each
gets a share of the room that there is, by its weight; what one leaves is for the next round. Where a lap
stands is the dispatcher's own knowledge: another one, or a new one, is elsewhere in it, which is as fair.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import Connection, text

from app.db import execute_prepared
from app.ledger.rules import Rules, Scope

# One step of the index for each kind of a tenant, however much it has in the backlog.
VISIT = text("""
    SELECT queue.name, lap.tenant_id, lap.kind
    FROM unnest(CAST(:queues AS text[]), CAST(:starts AS uuid[]), CAST(:steps AS int[]))
        AS queue(name, start, steps)
    CROSS JOIN LATERAL (
        WITH RECURSIVE lap AS (
            (
                SELECT o.tenant_id, o.kind, 1 AS number FROM outbox o
                WHERE o.ready AND o.queue = queue.name AND o.tenant_id >= queue.start
                ORDER BY o.tenant_id, o.kind LIMIT 1
            )
            UNION ALL
            SELECT next.tenant_id, next.kind,
                   lap.number + CAST(next.tenant_id <> lap.tenant_id AS int)
            FROM lap CROSS JOIN LATERAL (
                SELECT o.tenant_id, o.kind FROM outbox o
                WHERE o.ready AND o.queue = queue.name
                  AND (o.tenant_id, o.kind) > (lap.tenant_id, lap.kind)
                ORDER BY o.tenant_id, o.kind LIMIT 1
            ) next
            WHERE lap.number < queue.steps OR next.tenant_id = lap.tenant_id
        )
        SELECT tenant_id, kind, number FROM lap
    ) lap
    ORDER BY lap.number
""")
_PLANS = text("SELECT id, plan FROM tenants WHERE id = ANY(:ids)")
# Dispatchers that count what is in flight take turns, so that none counts what another is about to add.
_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended('millrace dispatch limits', 0))")
_IN_FLIGHT = text("SELECT tenant_id, kind, count(*) AS jobs FROM in_flight GROUP BY 1, 2")

_Kinds = dict[UUID, list[str]]
LONGEST_RUN = 8
FEWEST_TENANTS = 64
"""Where there are so many, at least so many have a turn in a round."""
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
    """Tenants in the order of the lap, and the kinds of which each has something due; `whole`: there are no
    other tenants. `wrapped`: the lap's end was among them.
    """

    tenants: Mapping[UUID, Sequence[str]]
    whole: bool
    wrapped: bool


@dataclass(slots=True)
class Lap:
    """Where the lap of a queue stands: behind that tenant, or at its start. `run` is how many jobs a tenant
    has in its turn at most where there are more tenants than a round serves.
    """

    behind: UUID | None = None
    took: bool = False
    run: int = LONGEST_RUN

    def tenants_for(self, room: int) -> int:
        """How many tenants share it. Each is looked for, and what it has is in a place of its own, which costs
        several times what its job does: so a large room, which is one of jobs of a moment, is for fewer of
        them, with a run of jobs each.
        """
        return room // max(1, min(self.run, room // FEWEST_TENANTS))

    def move(
        self, last: UUID | None, seen: Seen, *, given: int, taken: int, full_shares: bool
    ) -> bool:
        """On to behind `last`. Whether a further round may find something now: one that has come by all
        tenants and took nothing from any ends it.

        Of what was `given` so much was `taken`: where tenants have little, their runs are shorter at once. They
        are longer only from one lap to the next: within one all have the same, if its rounds are as large.
        """
        if not seen.whole:
            self._adapt(seen, given, taken)
        took = self.took or taken > 0
        self.behind = last
        self.took = taken > 0 if seen.wrapped else took
        if seen.whole:
            return full_shares
        return took if seen.wrapped else True

    def _adapt(self, seen: Seen, given: int, taken: int) -> None:
        if taken * 2 <= given:
            self.run = max(1, taken // len(seen.tenants))
        elif seen.wrapped and taken * 4 > given * 3:
            self.run = min(LONGEST_RUN, self.run * 2)


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
        queue: _seen(lap, steps, first[queue], again.get(queue, {}))
        for queue, (lap, steps) in queues.items()
    }


def _seen(lap: Lap, steps: int, first: _Kinds, again: _Kinds) -> Seen:
    if lap.behind is None or len(first) == steps:
        return Seen(first, whole=len(first) < steps, wrapped=lap.behind is None)
    before = {tenant: kinds for tenant, kinds in again.items() if tenant <= lap.behind}
    return Seen(first | before, whole=len(first) + len(before) < steps, wrapped=True)


def _visit(tx: Connection, wanted: Mapping[str, tuple[UUID | None, int]]) -> dict[str, _Kinds]:
    found: dict[str, _Kinds] = {queue: {} for queue in wanted}
    if wanted:
        facts = {
            "queues": list(wanted),
            "starts": [_start(behind) for behind, _ in wanted.values()],
            "steps": [steps for _, steps in wanted.values()],
        }
        for queue, tenant_id, kind in execute_prepared(tx, VISIT, facts):
            found[queue].setdefault(tenant_id, []).append(kind)
    return found


def _start(behind: UUID | None) -> UUID:
    """The first id that is behind that tenant's."""
    return UUID(int=0 if behind is None else behind.int + 1)


def steps_for(lap: Lap, room: int, rules: Rules) -> int:
    """How many tenants a round looks at: those that it serves, and some that are paused."""
    return lap.tenants_for(room) + min(_STEPS_BEYOND, len(rules.paused(Scope.TENANT)))


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
    tenants: Iterable[UUID], plans: Mapping[UUID, str], rules: Rules, quota: Quota, *, room: int
) -> list[Turn]:
    """The turns of these tenants, in their order, with at least one job each; not more than there is room
    for. What is given out is added to `quota.running` where there is a limit.
    """
    paused = set(rules.paused(Scope.TENANT))
    served = [one for one in tenants if not paused or str(one) not in paused][:room]
    weights = {tenant: rules.weight(tenant, plans.get(tenant)) for tenant in served}
    total = sum(weights.values())
    return [
        _turn(tenant, weight, max(1, room * weight // total), limit, quota)
        for tenant, weight in weights.items()
        for limit in [rules.max_running(tenant, plans.get(tenant))]
    ]


def _turn(tenant: UUID, weight: int, share: int, limit: int | None, quota: Quota) -> Turn:
    if limit is None:
        return Turn(tenant_id=tenant, share=share, weight=weight, curbed=False)
    running = quota.running.get(tenant, 0)
    free = max(0, limit - running)
    given = min(share, free)
    quota.running[tenant] = running + given
    return Turn(tenant_id=tenant, share=given, weight=weight, curbed=free <= share)
