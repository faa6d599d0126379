"""The simulation of the three strategies, in small: its books balance, and pools follow the lag."""

import numpy as np
import pytest

from app.scaling.policy import ScalingPolicy
from bench.autoscale_pools import ElasticPool, divided, following, one_queue, sharded
from bench.autoscale_traffic import DAY, MODELS, Day, make_day
from bench.queue_simulation import lognormal, poisson, waits

JOBS = 20_000
SMALL = ScalingPolicy(min_replicas=1, max_replicas=20, workers_per_replica=1)


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
    pool = ElasticPool(arrivals, durations, fixed, start_up=20)
    assert pool.run() == pytest.approx(waits(arrivals, durations, 3))
    assert pool.changes == [(0.0, 3)]


def test_workers_cost_from_their_start_to_their_end() -> None:
    arrivals = np.full(1000, 100.0)
    pool = ElasticPool(arrivals, np.full(1000, 1.0), SMALL, start_up=20)
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
    pool = ElasticPool(np.full(10, 100.0), np.full(10, 2000.0), keen, start_up=20)
    pool.run()
    ends = [moment for moment, step in pool.changes if step < 0]
    assert len(ends) == sum(step for _, step in pool.changes if step > 0) - 1
    # Ten are busy until 2100 s or later, all told to end long before it; one of them stays.
    assert sum(moment >= 2100 for moment in ends) == 9


def test_each_strategy_does_every_job_and_recovers_from_each_burst(day: Day) -> None:
    pools = following(day, SMALL)
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
