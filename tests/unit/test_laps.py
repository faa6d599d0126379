"""How many jobs a turn is of: as many as the tenant's weight, a run of such where many tenants share a large room, and no
more than they have.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest

from app.ledger.rules import Rule, Rules, Scope
from app.ledger.turns import FEWEST_TENANTS, LONGEST_RUN, Lap, Quota, Seen, Turn, share_out

KIND = "a.kind"
EVERY: dict[UUID, list[str]] = {UUID(int=n): [KIND] for n in range(1, 101)}
"""A hundred tenants."""
MANY = Seen(EVERY, whole=False, wrapped=False)
LAP_S_END = Seen(EVERY, whole=False, wrapped=True)
ALL = Seen(EVERY, whole=True, wrapped=True)


def rule(tenant: UUID, *, weight: int | None = None, limit: int | None = None) -> Rule:
    return Rule(
        scope=Scope.TENANT,
        name=str(tenant),
        paused_at=None,
        paused_reason=None,
        max_running=limit,
        weight=weight,
    )


def moved(lap: Lap, seen: Seen, *, given: int, taken: int) -> int:
    """How long its runs are then."""
    tenants = [*seen.tenants]
    turns = [
        Turn(tenant_id=one, share=given // len(tenants), weight=1, curbed=False, dealt=1)
        for one in tenants
    ]
    part, more = divmod(taken, len(tenants))
    lap.move(seen, turns, {one: part + (n < more) for n, one in enumerate(tenants)}, given)
    return lap.run


@pytest.mark.parametrize("room", [1, 10, FEWEST_TENANTS, 2 * FEWEST_TENANTS - 1])
def test_a_small_room_is_one_job_each(room: int) -> None:
    assert Lap().tenants_for(room) == room


@pytest.mark.parametrize("room", [2 * FEWEST_TENANTS, 500, 5000])
def test_a_large_room_is_for_fewer_but_never_for_few(room: int) -> None:
    tenants = Lap().tenants_for(room)
    assert tenants >= FEWEST_TENANTS
    assert room / tenants <= LONGEST_RUN + 1
    assert tenants < room


def test_runs_are_shorter_at_once_where_tenants_have_less() -> None:
    lap = Lap(run=5)
    assert moved(lap, MANY, given=500, taken=251) == 5
    assert moved(lap, MANY, given=500, taken=250) == 2
    assert moved(lap, MANY, given=200, taken=0) == 1
    assert moved(lap, MANY, given=100, taken=0) == 1
    assert lap.tenants_for(500) == 500


def test_runs_are_longer_from_one_lap_to_the_next_alone() -> None:
    lap = Lap(run=2)
    assert moved(lap, MANY, given=400, taken=400) == 2
    assert moved(lap, LAP_S_END, given=400, taken=250) == 2
    assert moved(lap, LAP_S_END, given=400, taken=400) == 4
    assert moved(Lap(), LAP_S_END, given=400, taken=400) == LONGEST_RUN


def test_where_a_round_comes_by_everybody_nothing_is_learnt() -> None:
    assert moved(Lap(run=2), ALL, given=400, taken=1) == 2
    assert moved(Lap(run=2), ALL, given=400, taken=400) == 2


def look(lap: Lap, tenants: Sequence[UUID], room: int) -> Seen:
    """What a dispatcher sees where all of these have something due."""
    steps = lap.tenants_for(room) + lap.beyond
    start = lap.start(steps)
    order = [*tenants] if start is None else [one for one in tenants if one > start]
    wrapped = start is None or len(order) < steps
    if start is not None and wrapped:
        order += [one for one in tenants if one <= start]
    found: Mapping[UUID, Sequence[str]] = {one: [KIND] for one in order[:steps]}
    return Seen(found, whole=len(order) < steps, wrapped=wrapped)


@pytest.mark.parametrize("room", [1, 2, 4, 9, 21, 100, 200, 500])
@pytest.mark.parametrize("each", [1, 40])
def test_shares_are_as_the_weights_whatever_the_room(room: int, each: int) -> None:
    """Also where the heavy ones are neighbours, as those on one plan are that came at the same time."""
    tenants = [UUID(int=n + 1) for n in range(3 * each)]
    weights = dict(zip(tenants, [1] * each + [2] * each + [8] * each, strict=True))
    rules = Rules.of(rule(one, weight=weight) for one, weight in weights.items())
    lap, sent = Lap(), Counter[UUID]()
    while min(sent[one] / weights[one] for one in tenants) < 40:
        seen = look(lap, tenants, room)
        turns = share_out(lap, seen, {}, rules, Quota(), held=(), room=room)
        taken = {turn.tenant_id: turn.share for turn in turns}
        assert 0 < sum(taken.values()) <= room
        sent.update(taken)
        lap.move(seen, turns, taken, room)
    turns_had = [sent[one] / weights[one] for one in tenants]
    assert max(turns_had) - min(turns_had) <= LONGEST_RUN


@pytest.mark.parametrize("room", [1, 2, 3, 5, 7])
def test_all_have_their_turn_where_a_round_sees_more_than_it_has_room_for(room: int) -> None:
    """As it does where somebody is paused."""
    tenants = [UUID(int=n) for n in range(1, 6)]
    lap, sent, rounds = Lap(), Counter[UUID](), 20
    seen = Seen({one: [KIND] for one in tenants}, whole=True, wrapped=True)
    for _ in range(rounds):
        turns = share_out(lap, seen, {}, Rules(), Quota(), held=(), room=room)
        taken = {turn.tenant_id: turn.share for turn in turns}
        sent.update(taken)
        lap.move(seen, turns, taken, room)
    assert sum(sent.values()) == rounds * room
    assert max(sent.values()) - min(sent[one] for one in tenants) <= 1


def test_a_turn_that_is_not_used_is_over() -> None:
    """The tenant's jobs are another dispatcher's, say."""
    light, heavy = UUID(int=1), UUID(int=2)
    rules, lap = Rules.of([rule(heavy, weight=9)]), Lap(behind=light)
    for taken, owed in ((2, (heavy, 7)), (2, (heavy, 5)), (1, None)):
        seen = Seen({heavy: [KIND], light: [KIND]}, whole=False, wrapped=False)
        turns = share_out(lap, seen, {}, rules, Quota(), held=(), room=2)
        assert [(turn.tenant_id, turn.share) for turn in turns] == [(heavy, 2)]
        lap.move(seen, turns, {heavy: taken}, 2)
        assert lap.owed == owed
    assert lap.behind == heavy


def test_who_may_have_nothing_takes_nobody_s_room() -> None:
    full, none, paused, held, free = (UUID(int=n) for n in range(1, 6))
    still = Rule(
        scope=Scope.TENANT,
        name=str(paused),
        paused_at=datetime.now(tz=UTC),
        paused_reason=None,
        max_running=None,
        weight=None,
    )
    rules = Rules.of([rule(full, limit=3), rule(none, limit=0), still])
    kinds = {one: [KIND] for one in (full, none, paused, free)} | {held: ["a.paused"]}
    seen, quota = Seen(kinds, whole=True, wrapped=True), Quota(running={full: 3})
    turns = share_out(Lap(), seen, {}, rules, quota, held={"a.paused"}, room=10)
    assert {turn.tenant_id: turn.share for turn in turns if turn.share} == {free: 10}
    curbed = {turn.tenant_id for turn in turns if turn.curbed}
    assert curbed == {full}, "no end of a job changes anything for the other"
