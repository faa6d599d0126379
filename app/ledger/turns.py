"""Whose turn it is: round robin over the tenants that have something due, queue by queue.

A lap goes through the tenants of a queue in the order of their ids, from where the last round stopped. A turn is as many
jobs as the tenant's weight; what one leaves is for the next round, and what the room doesn't do for is owed. Where a
round comes by everybody, each gets its weight as often as there is room for all. Where a lap stands is the dispatcher's
own knowledge: another one, or a new one, is elsewhere in it, which is as fair.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
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
_FEW = 8
"""So many are always looked at: where there are fewer, one look has come by everybody, also for a room of one."""
_STEPS_BEYOND = 500
"""So many tenants that have nothing which may be sent are passed in one round, beside those that are served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """At most `share` jobs of a tenant, and not more than are `free` over all queues; `curbed` says that its limit allows no
    more. `dealt`: some of them are of its turn in the lap, which still `lacks` so many.
    """

    tenant_id: UUID
    share: int
    weight: int
    curbed: bool
    free: int | None = None
    dealt: int = 0
    lacks: int = 0


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
    """Where the lap of a queue stands: behind that tenant, or at its start, and which tenant is owed how many jobs of a turn
    that the room didn't do for. `run` is how many jobs a tenant has in its turn at most, for each of its weight, where there
    are more tenants than a round serves. `beyond`: so many more are looked at, as of late many had nothing that may be
    sent. `few`: there were so many in all, when the last round came by everybody.
    """

    behind: UUID | None = None
    owed: tuple[UUID, int] | None = None
    took: bool = False
    run: int = LONGEST_RUN
    beyond: int = 0
    few: int | None = None

    def tenants_for(self, room: int) -> int:
        """How many tenants share it. Each is looked for, and what it has is in a place of its own, which costs
        several times what its job does: so a large room, which is one of jobs of a moment, is for fewer of
        them, with a run of jobs each.
        """
        return room // max(1, min(self.run, room // FEWEST_TENANTS))

    def start(self, steps: int) -> UUID | None:
        """Behind whom to look for so many. Where they seem to be all, it is the same, and the lap's start costs one look."""
        return None if self.few is not None and self.few < steps else self.behind

    def move(self, seen: Seen, turns: Sequence[Turn], taken: Mapping[UUID, int], room: int) -> bool:
        """On to behind those that had their turn. Whether a further round may find something now: one that has come by
        all tenants and took nothing from any ends it.

        A turn is over where less was `taken` than it had. Where tenants have little, their runs are shorter at once. They
        are longer only from one lap to the next: within one all have the same, if its rounds are as large.
        """
        self.few = len(seen.tenants) if seen.whole else None
        some = any(taken.get(turn.tenant_id) for turn in turns)
        self._go_on(seen, turns, taken, room)
        if not seen.whole:
            self._adapt(seen, turns, taken)
        took = self.took or some
        self.took = some if seen.wrapped else took
        if seen.whole:
            left_out = any(turn.lacks and not turn.share for turn in turns)
            return (left_out and some) or any(
                turn.share and not turn.curbed and taken.get(turn.tenant_id, 0) >= turn.share
                for turn in turns
            )
        return took if seen.wrapped else True

    def _go_on(
        self, seen: Seen, turns: Sequence[Turn], taken: Mapping[UUID, int], room: int
    ) -> None:
        dealt = [turn for turn in turns if turn.dealt]
        short = sum(turn.dealt for turn in dealt) < room and len(dealt) < self.tenants_for(room)
        if short and not seen.whole:
            self.behind, self.owed = [*seen.tenants][-1] if seen.tenants else None, None
            self.beyond = min(_STEPS_BEYOND, 2 * self.beyond + 16)
            return
        self.beyond //= 2
        if not dealt:
            return
        *others, last = dealt
        if last.lacks and taken.get(last.tenant_id, 0) >= last.share:
            self.owed = last.tenant_id, last.lacks
            self.behind = others[-1].tenant_id if others else self.behind
        else:
            self.behind, self.owed = last.tenant_id, None

    def _adapt(self, seen: Seen, turns: Sequence[Turn], taken: Mapping[UUID, int]) -> None:
        given = sum(turn.share for turn in turns)
        mine = sum(taken.get(turn.tenant_id, 0) for turn in turns)
        if mine * 2 <= given:
            self.run = max(1, mine // max(1, sum(turn.share > 0 for turn in turns)))
        elif seen.wrapped and mine * 4 > given * 3:
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
    starts = {queue: lap.start(steps) for queue, (lap, steps) in queues.items()}
    first = _visit(tx, {queue: (starts[queue], steps) for queue, (_, steps) in queues.items()})
    left = {
        queue: steps - len(first[queue])
        for queue, (_, steps) in queues.items()
        if starts[queue] is not None and len(first[queue]) < steps
    }
    again = _visit(tx, {queue: (None, steps) for queue, steps in left.items()})
    return {
        queue: _seen(starts[queue], steps, first[queue], again.get(queue, {}))
        for queue, (_, steps) in queues.items()
    }


def _seen(behind: UUID | None, steps: int, first: _Kinds, again: _Kinds) -> Seen:
    if behind is None or len(first) == steps:
        return Seen(first, whole=len(first) < steps, wrapped=behind is None)
    before = {tenant: kinds for tenant, kinds in again.items() if tenant <= behind}
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
    """How many tenants a round looks at: those that it serves, and some that have nothing that may be sent."""
    beyond = max(lap.beyond, len(rules.paused(Scope.TENANT)))
    return max(_FEW, lap.tenants_for(room)) + min(_STEPS_BEYOND, beyond)


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
    lap: Lap,
    seen: Seen,
    plans: Mapping[UUID, str],
    rules: Rules,
    quota: Quota,
    *,
    held: Container[str],
    room: int,
) -> list[Turn]:
    """The turns of those of the tenants that have something of a kind that isn't `held`, in the order of the lap, not
    more than there is room for.

    Where all are seen each gets its weight as often as there is room for all. What is left, or all of the room where
    there are more, is dealt out in the lap: a turn is as many jobs as the tenant's weight, times the lap's run.
    """
    ready, turns = _by_limit(_candidates(lap, seen, rules, held), plans, rules, quota)
    ready = ready if seen.whole else ready[: lap.tenants_for(room)]
    run = 1 if seen.whole else room // lap.tenants_for(room)
    every = room // sum(weight for _, weight, _ in ready) if ready and seen.whole else 0
    left = room - every * sum(weight for _, weight, _ in ready)
    owed_to, owed = lap.owed or (None, 0)
    for tenant, weight, free in ready:
        turn = owed if tenant == owed_to else weight * run
        dealt = min(turn, left)
        left -= dealt
        share = every * weight + dealt
        if not (share or seen.whole):
            break
        given = share if free is None else min(share, free)
        curbed = free is not None and free <= share
        turns.append(
            Turn(
                tenant_id=tenant,
                share=given,
                weight=weight,
                curbed=curbed,
                free=free,
                dealt=dealt,
                lacks=0 if curbed else turn - dealt,
            )
        )
    return turns


def _by_limit(
    tenants: list[UUID], plans: Mapping[UUID, str], rules: Rules, quota: Quota
) -> tuple[list[tuple[UUID, int, int | None]], list[Turn]]:
    """Those below their limit, with their weight and what they may have yet; and the turns of the others."""
    ready: list[tuple[UUID, int, int | None]] = []
    turns: list[Turn] = []
    for tenant in tenants:
        plan = plans.get(tenant)
        weight, limit = rules.weight(tenant, plan), rules.max_running(tenant, plan)
        free = None if limit is None else limit - quota.running.get(tenant, 0)
        if free is None or free > 0:
            ready.append((tenant, weight, free))
        else:
            turns.append(Turn(tenant_id=tenant, share=0, weight=weight, curbed=limit != 0))
    return ready, turns


def _candidates(lap: Lap, seen: Seen, rules: Rules, held: Container[str]) -> list[UUID]:
    """In the order of the lap, without those that have nothing which may be sent."""
    paused = set(rules.paused(Scope.TENANT))
    found = [
        tenant
        for tenant, kinds in seen.tenants.items()
        if str(tenant) not in paused and any(kind not in held for kind in kinds)
    ]
    behind = lap.behind
    if seen.whole and behind is not None:
        found.sort(key=lambda tenant: (tenant <= behind, tenant))
    return found
