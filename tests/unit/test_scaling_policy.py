"""The scaling policy: what it wants, and how slowly it gives up what it has."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.scaling.policy import ScalingPolicy, Seen, Wanted, decide, wanted

POLICY = ScalingPolicy()
SEEN = st.builds(
    Seen,
    backlog=st.integers(0, 100_000),
    oldest_seconds=st.floats(0, 3600),
    arrival_rate=st.floats(0, 1000),
    mean_seconds=st.floats(0, 60),
    replicas=st.integers(0, 60),
)


@pytest.mark.parametrize(
    ("seen", "replicas", "because"),
    [
        (Seen(backlog=0, replicas=2), 2, "minimum"),
        (Seen(backlog=300, replicas=2), 3, "backlog"),
        (Seen(backlog=301, replicas=2), 4, "backlog"),
        (Seen(backlog=0, arrival_rate=14, mean_seconds=0.5, replicas=2), 5, "rate"),
        (Seen(backlog=600, arrival_rate=2, mean_seconds=0.2, replicas=2), 6, "backlog"),
        (Seen(backlog=600, arrival_rate=2, mean_seconds=0.5, replicas=2), 11, "drain"),
        (Seen(backlog=12, arrival_rate=0.1, mean_seconds=60, replicas=2), 9, "drain"),
        (Seen(backlog=10, oldest_seconds=45, replicas=6), 9, "lag"),
        (Seen(backlog=10, oldest_seconds=3000, replicas=6), 12, "lag"),
        (Seen(backlog=1_000_000, replicas=2), 50, "maximum"),
    ],
)
def test_the_largest_answer_counts(seen: Seen, replicas: int, because: str) -> None:
    assert wanted(seen, POLICY, now=7) == Wanted(7, replicas, because)


@given(seen=SEEN, more=st.integers(1, 1000))
def test_it_stays_within_its_bounds_and_a_longer_backlog_never_wants_fewer(
    seen: Seen, more: int
) -> None:
    longer = Seen(
        backlog=seen.backlog + more,
        oldest_seconds=seen.oldest_seconds,
        arrival_rate=seen.arrival_rate,
        mean_seconds=seen.mean_seconds,
        replicas=seen.replicas,
    )
    few, many = wanted(seen, POLICY, now=0), wanted(longer, POLICY, now=0)
    assert POLICY.min_replicas <= few.replicas <= many.replicas <= POLICY.max_replicas


def run(backlogs: list[int], policy: ScalingPolicy, *, start: int = 2) -> list[int]:
    """Poll after poll, each decision carried out at once."""
    history: list[Wanted] = []
    replicas, had = start, []
    for number, backlog in enumerate(backlogs):
        now = number * policy.poll_seconds
        seen = Seen(backlog=backlog, replicas=replicas)
        replicas, history = decide(seen, history, policy, now=now)
        had.append(replicas)
    return had


def test_up_at_once_and_down_after_the_window() -> None:
    had = run([0, 1000, 0, *[0] * 30], POLICY)
    assert had[:3] == [2, 10, 10]
    polls = round(POLICY.down_window_seconds / POLICY.poll_seconds)
    assert had[1 : 1 + polls] == [10] * polls
    assert had[1 + polls :] == [2] * (len(had) - 1 - polls)


def test_down_in_steps_to_what_the_window_wanted_most() -> None:
    had = run([1000, *[0] * 10, 500, *[0] * 40], POLICY)
    assert had[19] == 10
    assert had[20] == 5
    assert had[-1] == 2


def test_up_only_when_it_was_wanted_for_the_whole_window() -> None:
    slow = ScalingPolicy(up_window_seconds=45)
    assert run([0, 0, 0, 1000, 0, 0, 0], slow) == [2] * 7
    assert run([0, 0, 0, 1000, 1000, 1000, 1000], slow)[-2:] == [10, 10]


def test_a_scaler_that_was_restarted_takes_nothing_down_before_it_has_watched() -> None:
    had = run([0] * 30, POLICY, start=20)
    assert had[:20] == [20] * 20
    assert had[20] == 2


@given(backlogs=st.lists(st.integers(0, 8000), max_size=60), start=st.integers(0, 60))
@settings(max_examples=50)
def test_it_never_flaps_within_the_window(backlogs: list[int], start: int) -> None:
    had = run(backlogs, POLICY, start=start)
    polls = round(POLICY.down_window_seconds / POLICY.poll_seconds)
    rises = [n for n, (before, after) in enumerate(pairwise(had)) if after > before]
    for rise in rises:
        assert min(had[rise + 1 : rise + 1 + polls]) >= had[rise + 1]


@pytest.mark.parametrize(
    "wrong",
    [{"min_replicas": 3, "max_replicas": 2}, {"messages_per_replica": 0}, {"drain_seconds": 0.0}],
)
def test_a_policy_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        ScalingPolicy(**wrong)  # type: ignore[arg-type]
