"""When a job is tried again: bounded, never sooner than asked, and explainable afterwards."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.retry import (
    RetryPolicy,
    backoff_seconds,
    dice,
    retry_delay_seconds,
    tries_made,
)

POLICIES = st.builds(
    lambda attempts, base, times, jitter: RetryPolicy(
        attempts=attempts, base_seconds=base, cap_seconds=base * times, jitter=jitter
    ),
    st.integers(1, 100),
    st.floats(0.001, 1000),
    st.floats(1, 1e6),
    st.booleans(),
)
ATTEMPTS = st.integers(1, 10_000)


@given(policy=POLICIES, attempt=ATTEMPTS, seed=st.integers())
def test_the_pause_is_between_nothing_and_the_cap(
    policy: RetryPolicy, attempt: int, seed: int
) -> None:
    pause = backoff_seconds(policy, attempt=attempt, rng=dice(UUID(int=7), seed))
    assert 0 <= pause <= policy.cap_seconds
    assert pause <= policy.base_seconds * 2.0 ** min(attempt - 1, 60)


@given(policy=POLICIES, attempt=ATTEMPTS, seed=st.integers(), asked=st.floats(0, 1e9))
def test_the_pause_is_never_shorter_than_the_other_side_asked_for(
    policy: RetryPolicy, attempt: int, seed: int, asked: float
) -> None:
    pause = retry_delay_seconds(
        policy, attempt=attempt, rng=dice(UUID(int=7), seed), retry_after_seconds=asked
    )
    assert pause is None or pause >= asked


@given(policy=POLICIES, attempt=ATTEMPTS, job_id=st.uuids())
def test_there_is_no_next_try_exactly_when_the_attempts_are_used_up(
    policy: RetryPolicy, attempt: int, job_id: UUID
) -> None:
    pause = retry_delay_seconds(policy, attempt=attempt, rng=dice(job_id, attempt))
    assert (pause is None) == (attempt >= policy.attempts)


@given(policy=POLICIES, attempt=ATTEMPTS, job_id=st.uuids())
def test_the_same_job_and_attempt_always_get_the_same_pause(
    policy: RetryPolicy, attempt: int, job_id: UUID
) -> None:
    first = backoff_seconds(policy, attempt=attempt, rng=dice(job_id, attempt))
    assert first == backoff_seconds(policy, attempt=attempt, rng=dice(job_id, attempt))


def test_jobs_that_failed_together_do_not_come_back_together() -> None:
    policy = RetryPolicy(base_seconds=100, cap_seconds=100)
    pauses = [
        backoff_seconds(policy, attempt=1, rng=dice(UUID(int=number), 1)) for number in range(100)
    ]
    assert len(set(pauses)) == 100
    assert min(pauses) < 25
    assert max(pauses) > 75


def test_the_reference_case_is_five_retries_at_2_4_8_16_and_32_seconds() -> None:
    """What a contract gets that asks for nothing; its dice only ever shorten a pause."""
    steady, given_dice = RetryPolicy(jitter=False), RetryPolicy()
    pauses = [
        retry_delay_seconds(steady, attempt=attempt, rng=dice(UUID(int=7), attempt))
        for attempt in range(1, 7)
    ]
    assert pauses == [2, 4, 8, 16, 32, None]
    for attempt, ceiling in enumerate(pauses, start=1):
        drawn = retry_delay_seconds(given_dice, attempt=attempt, rng=dice(UUID(int=7), attempt))
        assert (drawn is None) == (ceiling is None)
        assert drawn is None or ceiling is None or 0 <= drawn <= ceiling


@given(asked=st.floats() | st.just(float("inf")), attempt=st.integers(1, 5))
def test_whatever_the_other_side_asks_for_the_pause_is_one_that_a_calendar_holds(
    asked: float, attempt: int
) -> None:
    pause = retry_delay_seconds(
        RetryPolicy(), attempt=attempt, rng=dice(UUID(int=7), attempt), retry_after_seconds=asked
    )
    assert pause is not None
    assert 0 <= pause <= 1e9


@given(job_id=st.uuids(), attempt=st.integers(1, 4))
def test_another_job_or_attempt_gets_another_draw(job_id: UUID, attempt: int) -> None:
    draws = {
        dice(UUID(int=job_id.int ^ flip), number).random()
        for flip in (0, 1)
        for number in (attempt, attempt + 1)
    }
    assert len(draws) == 4


def test_without_jitter_the_pauses_double_up_to_the_cap() -> None:
    policy = RetryPolicy(attempts=10, base_seconds=2, cap_seconds=50, jitter=False)
    pauses = [
        retry_delay_seconds(policy, attempt=attempt, rng=dice(UUID(int=7), 0))
        for attempt in range(1, 11)
    ]
    assert pauses == [2, 4, 8, 16, 32, 50, 50, 50, 50, None]


@pytest.mark.parametrize(
    ("attempts", "base", "cap"), [(0, 2.0, 60.0), (5, 0.0, 60.0), (5, 5.0, 4.0)]
)
def test_a_policy_that_makes_no_sense_is_refused(attempts: int, base: float, cap: float) -> None:
    with pytest.raises(ValueError, match="retry policy"):
        RetryPolicy(attempts=attempts, base_seconds=base, cap_seconds=cap)


@pytest.mark.parametrize(
    ("attempt", "max_attempts", "tries"),
    [(1, 5, 1), (4, 5, 4), (4, 8, 1), (7, 11, 1), (8, 8, 5), (1, 9, 1)],
    ids=["first", "fourth", "three snoozes", "a replay", "the last", "more than there are"],
)
def test_a_snooze_is_no_try(attempt: int, max_attempts: int, tries: int) -> None:
    policy = RetryPolicy(attempts=5)
    assert tries_made(policy, attempt=attempt, max_attempts=max_attempts) == tries
