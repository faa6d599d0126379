"""Catching up: which slots fire now, as a function of the policy and the clock."""

from datetime import UTC, datetime, timedelta
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.schedules.catch_up import ALL_PER_ROUND, GRACE, CatchUp, firing
from app.schedules.cron import Timetable, timetable

START = datetime(2026, 3, 28, tzinfo=UTC)
LATE = timedelta(microseconds=1)

tables = st.builds(
    timetable,
    st.sampled_from(
        ["* * * * *", "*/7 * * * *", "0 * * * *", "30 2 * * *", "0 8 * * 1-5", "* 3 * * 0"]
    ),
    st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/Santiago"]),
)
downtimes = st.one_of(st.integers(0, 180), st.integers(0, 86_400), st.integers(0, 20 * 86_400)).map(
    lambda seconds: timedelta(seconds=seconds)
)


def missed(table: Timetable, next_at: datetime, now: datetime) -> list[datetime]:
    return [next_at, *takewhile(lambda slot: slot <= now, table.after(next_at))]


@given(table=tables, down=downtimes, policy=st.sampled_from(CatchUp))
def test_every_policy_fires_missed_slots_only_and_goes_on_behind_now(
    table: Timetable, down: timedelta, policy: CatchUp
) -> None:
    next_at = table.next_after(START)
    assert next_at is not None
    now = next_at + down
    due = missed(table, next_at, now)
    plan = firing(table, policy, next_at=next_at, now=now)
    assert plan.next_at is not None
    match policy:
        case CatchUp.NONE:
            assert list(plan.slots) == [slot for slot in due if now - slot <= GRACE]
        case CatchUp.LAST:
            assert list(plan.slots) == due[-1:]
        case CatchUp.ALL:
            assert list(plan.slots) == due[:ALL_PER_ROUND]
    if policy is CatchUp.ALL and len(due) > ALL_PER_ROUND:
        assert plan.next_at == due[ALL_PER_ROUND]
    else:
        assert plan.next_at == table.next_after(now)


@given(table=tables, down=downtimes)
def test_all_rounds_together_fire_each_slot_once(table: Timetable, down: timedelta) -> None:
    next_at = table.next_after(START)
    assert next_at is not None
    now = next_at + min(down, timedelta(hours=12))
    wanted = missed(table, next_at, now)
    fired: list[datetime] = []
    while next_at <= now:
        plan = firing(table, CatchUp.ALL, next_at=next_at, now=now)
        fired += plan.slots
        assert plan.next_at is not None
        next_at = plan.next_at
    assert fired == wanted


@pytest.mark.parametrize(
    ("late", "fires"), [(timedelta(0), True), (GRACE, True), (GRACE + LATE, False)]
)
def test_a_slot_up_to_a_minute_late_fires_where_nothing_is_caught_up(
    late: timedelta, *, fires: bool
) -> None:
    table = timetable("0 8 * * *", "UTC")
    slot = datetime(2026, 3, 28, 8, tzinfo=UTC)
    plan = firing(table, CatchUp.NONE, next_at=slot, now=slot + late)
    assert plan.slots == ((slot,) if fires else ())
    assert plan.next_at == slot + timedelta(days=1)


@pytest.mark.parametrize("policy", CatchUp)
def test_a_clock_that_went_back_fires_nothing(policy: CatchUp) -> None:
    table = timetable("* * * * *", "UTC")
    plan = firing(table, policy, next_at=START, now=START - timedelta(minutes=5))
    assert (plan.slots, plan.next_at) == ((), START)


def test_a_month_of_missed_minutes_is_passed_at_once() -> None:
    """LAST looks back from now; it does not walk through what it skips."""
    table = timetable("* * * * *", "Europe/Berlin")
    now = START + timedelta(days=3650)
    plan = firing(table, CatchUp.LAST, next_at=START, now=now)
    assert plan.slots == (now,)
    plan = firing(table, CatchUp.NONE, next_at=START, now=now)
    assert plan.slots == (now - GRACE, now)
