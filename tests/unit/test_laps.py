"""How many jobs a turn is of: a run where many tenants share a large room, and no more than they have."""

from uuid import UUID

import pytest

from app.ledger.turns import FEWEST_TENANTS, LONGEST_RUN, Lap, Seen

EVERY: dict[UUID, list[str]] = {UUID(int=n): ["a.kind"] for n in range(1, 101)}
"""A hundred tenants."""
MANY = Seen(EVERY, whole=False, wrapped=False)
LAP_S_END = Seen(EVERY, whole=False, wrapped=True)
ALL = Seen(EVERY, whole=True, wrapped=True)


def moved(lap: Lap, seen: Seen, *, given: int, taken: int) -> int:
    """How long its runs are then."""
    lap.move(UUID(int=100), seen, given=given, taken=taken, full_shares=False)
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
