"""The simulation of the three strategies, in small: its books balance, and pools follow the lag."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from app.scaling.policy import ScalingPolicy
from bench.autoscale_pools import ElasticPool, divided, following, one_queue, sharded
from bench.autoscale_scalers import CONTAINERS, Scaler, processes
from bench.autoscale_traffic import DAY, MODELS, Day, make_day
from bench.queue_simulation import lognormal, poisson, waits
from bench.strategies import SECONDS, SURGE_AT, SURGE_SECONDS, small_day

JOBS = 20_000
SMALL = ScalingPolicy(min_replicas=1, max_replicas=20, workers_per_replica=1)
Array = NDArray[np.float64]


def by(policy: ScalingPolicy) -> Scaler:
    """A scaler that counts the backlog two seconds and a half before each look; workers begin 20 s after it."""
    return Scaler(policy=policy, measured_seconds=5, rate_seconds=60, ready_seconds=20)


def pool_of(arrivals: Array, durations: Array, scaler: Scaler) -> ElasticPool:
    return ElasticPool(arrivals, durations, scaler, everybody=arrivals)


@pytest.fixture(scope="module")
def day() -> Day:
    return make_day(MODELS[0], JOBS, seed=3)


def test_a_day_is_what_the_model_says_and_the_same_again(day: Day) -> None:
    assert len(day.arrivals) == JOBS
    assert np.all(np.diff(day.arrivals) >= 0)
    assert day.arrivals[0] >= 0
    assert day.arrivals[-1] < DAY
    assert len(day.bursts) == MODELS[0].bursts
    minute = np.bincount((day.arrivals // 60).astype(int))
    assert minute.max() > 5 * minute.mean()
    again = make_day(MODELS[0], JOBS, seed=3)
    assert np.array_equal(again.arrivals, day.arrivals)
    assert np.array_equal(again.durations, day.durations)


def test_a_pool_that_may_not_change_is_a_queue_with_fixed_workers() -> None:
    random = np.random.default_rng(4)
    arrivals, durations = poisson(random, 0.2, 10_000), lognormal(random, 12, 2, 10_000)
    fixed = ScalingPolicy(min_replicas=3, max_replicas=3, workers_per_replica=1)
    pool = pool_of(arrivals, durations, by(fixed))
    assert pool.run() == pytest.approx(waits(arrivals, durations, 3))
    assert pool.changes == [(0.0, 3)]


def test_workers_cost_from_their_start_to_their_end() -> None:
    arrivals = np.full(1000, 100.0)
    pool = pool_of(arrivals, np.full(1000, 1.0), by(SMALL))
    waited = pool.run()
    moments, steps = zip(*pool.changes, strict=True)
    area = sum((DAY - moment) * step for moment, step in zip(moments, steps, strict=True))
    assert pool.worker_seconds == pytest.approx(area)
    assert sum(steps) == 1
    assert max(np.cumsum(steps)) > 10
    assert waited.max() < 250
    assert waits(arrivals, np.full(1000, 1.0), 1).max() == 999
    # The first look after the burst is at 105 s, and new workers begin 20 s later: until then there is one.
    assert np.sum(waited < 24.5) == 25


def test_a_worker_that_is_told_to_end_finishes_its_job_and_costs_until_then() -> None:
    keen = ScalingPolicy(
        min_replicas=1, max_replicas=20, workers_per_replica=1, messages_per_replica=1
    )
    pool = pool_of(np.full(10, 100.0), np.full(10, 2000.0), by(keen))
    pool.run()
    ends = [moment for moment, step in pool.changes if step < 0]
    assert len(ends) == sum(step for _, step in pool.changes if step > 0) - 1
    # Ten are busy until 2100 s or later, all told to end long before it; one of them stays.
    assert sum(moment >= 2100 for moment in ends) == 9


def test_each_strategy_does_every_job_and_recovers_from_each_burst(day: Day) -> None:
    pools = following(day, by(SMALL))
    workers = max(6, round(pools.worker_seconds / DAY))
    for outcome in (one_queue(day, workers), sharded(day, workers), pools):
        assert len(outcome.waits) == JOBS
        assert outcome.waits.min() >= 0
        assert len(outcome.recoveries) == MODELS[0].bursts
        assert min(outcome.recoveries) >= 0
    assert pools.timeline[-1][1] == 3


def test_workers_are_divided_by_work_and_each_shard_gets_one() -> None:
    assert divided(10, [8, 1, 1]) == [8, 1, 1]
    assert divided(3, [100, 1, 0]) == [1, 1, 1]
    assert sum(divided(44, [5, 3, 2, 7])) == 44


def test_what_a_scaler_sees_is_of_the_last_count_and_only_of_jobs_that_have_ended() -> None:
    arrivals, durations = np.arange(100.0, 110.0), np.full(10, 4.0)
    pool = pool_of(arrivals, durations, by(SMALL))
    pool.run()
    # One worker has begun at 100, 104 and 108; the backlog was counted at 107.5, with those who came from 102 on.
    seen = pool._seen(110.0, begun=3)
    assert seen.backlog == 6
    assert seen.oldest_seconds == 8
    assert seen.arrival_rate == 3 / 60
    assert seen.mean_seconds == 4
    assert pool._seen(102.0, begun=1).mean_seconds == 0


def test_a_pool_of_processes_looks_at_no_more_history_than_the_product() -> None:
    everybody = np.arange(0.0, 100.0, 0.001)
    pool = ElasticPool(everybody[::3], np.zeros(33_334), processes(), everybody=everybody)
    assert pool._looks_back(50.0) == pytest.approx(1, abs=0.01)
    pool = ElasticPool(np.array([3.0]), np.zeros(1), processes(), everybody=np.array([3.0]))
    assert pool._looks_back(50.0) == processes().rate_seconds


def test_containers_come_and_go_at_the_pace_of_the_manifests() -> None:
    assert CONTAINERS.within_pace(50, replicas=2, ended=0) == 12
    assert CONTAINERS.within_pace(50, replicas=20, ended=0) == 40
    assert CONTAINERS.within_pace(2, replicas=40, ended=0) == 30
    assert CONTAINERS.within_pace(2, replicas=30, ended=10) == 30
    assert processes().within_pace(100, replicas=4, ended=0) == 100


def test_children_that_are_forked_one_after_the_other_begin_so() -> None:
    scaler = replace(by(SMALL), ready_seconds=1.0, each_seconds=0.5)
    pool = pool_of(np.full(1000, 100.0), np.full(1000, 50.0), scaler)
    waited = np.sort(pool.run())
    # The first look that has counted them is at 105 s, and wants 20.
    assert waited[:4] == pytest.approx([0, 6, 6.5, 7])


def test_the_real_run_has_one_surge_far_above_the_mean_with_calm_around_it() -> None:
    day = small_day(1)
    assert np.all(np.diff(day.arrivals) >= 0)
    counts, _ = np.histogram(day.arrivals, bins=23, range=(0, SECONDS))
    assert counts.max() > 4 * counts.mean()
    high = np.flatnonzero(counts > counts.mean()) * SECONDS / 23
    assert (high[0], high[-1] + SECONDS / 23) == (SURGE_AT, SURGE_AT + SURGE_SECONDS)
    assert np.array_equal(small_day(1).durations, day.durations)
