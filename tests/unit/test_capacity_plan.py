"""From a load to workers, connections, memory and money, and what changes when the load does."""

import json
from dataclasses import replace
from datetime import timedelta
from math import inf, nan
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import connections
from app.capacity.durations import Durations, from_mean
from app.capacity.given import one_pool, read_file, terms_of
from app.capacity.measured import arrivals
from app.capacity.plan import Demand, Terms, make_plan, plan_pool, workers_by_formula
from app.capacity.report import as_facts, lines
from app.capacity.what_if import what_ifs
from app.errors import Unprocessable

STEADY = Demand(pool="default", rate=10, durations=from_mean(2, 1))


@pytest.mark.parametrize(
    ("rate", "mean", "workers"), [(10, 2, 36), (0.7, 1, 2), (0, 5, 1), (5.6, 1, 10), (56, 0.1, 10)]
)
def test_the_formula(rate: float, mean: float, workers: int) -> None:
    assert workers_by_formula(rate, mean, utilisation=0.7, headroom=0.25) == workers


@given(rate=st.floats(0, 500), mean=st.floats(0.001, 10), concurrency=st.integers(1, 16))
def test_a_plan_is_whole_replicas_that_keep_up(rate: float, mean: float, concurrency: int) -> None:
    demand = Demand(pool="x", rate=rate, durations=from_mean(mean, 1))
    pool = plan_pool(demand, Terms(concurrency=concurrency))
    assert pool.workers == pool.replicas * concurrency >= pool.workers_by_formula
    assert pool.queueing.stable
    assert pool.queueing.utilisation <= 0.7 / 1.25 + 1e-9


def test_a_wait_that_is_wanted_may_take_more_than_the_formula() -> None:
    few = plan_pool(STEADY, Terms(utilisation=0.95, headroom=0, wait_p95=0.01))
    assert few.workers_for_wait is not None
    assert few.workers_for_wait > few.workers_by_formula
    assert few.queueing.wait(0.95) <= 0.01


def test_the_time_between_jobs_is_work() -> None:
    small = Demand(pool="x", rate=100, durations=from_mean(0.005, 1))
    assert plan_pool(small, Terms()).workers_by_formula == 1
    assert plan_pool(replace(small, overhead=0.003), Terms()).workers_by_formula == 2


def test_the_connections_are_those_that_the_processes_open() -> None:
    plan = make_plan([STEADY], Terms(web_processes=3, web_pool=10, dispatchers=2))
    workers, replicas = plan.pools[0].workers, plan.pools[0].replicas
    assert (workers, replicas) == (36, 18)
    assert plan.postgres == 3 * (10 + 1) + 2 * (8 + 1) + 36 * 4 + 18 * 2
    assert plan.rabbitmq == 2 * 4 + 18 * 2 + connections.FLOWER.rabbitmq
    kept = connections.RESERVED + connections.SPARE
    assert plan.postgres_room == 100 - kept - plan.postgres < 0
    assert any("TOO FEW" in line for line in lines(plan))


def test_behind_a_pooler_postgresql_has_the_poolers_connections() -> None:
    few = make_plan([STEADY], Terms(web_processes=3, dispatchers=2, pooler_connections=30))
    assert few.postgres == 3 * 11 + 2 * 9 + 36 * 4 + 18 * 2, (
        "the pooler's clients, and who goes past it"
    )
    assert few.postgres_server == 30 + 3 + 2
    assert few.postgres_room == 100 - connections.RESERVED - connections.SPARE - 35
    said = list(lines(few))
    assert any("226 clients, 30 connections; 5 go past it" in line for line in said)
    assert any("CAUTION" in line and "36 workers and 30" in line for line in said)
    assert not any("TOO FEW" in line for line in said)
    enough = make_plan([STEADY], Terms(pooler_connections=36))
    assert not any("CAUTION" in line for line in lines(enough))


def test_memory_and_cost_are_those_of_the_replicas() -> None:
    pool = plan_pool(STEADY, Terms(price=0.1, child_mib=400, main_mib=200))
    assert pool.memory_mib == 36 * 400 + 18 * 200
    assert pool.cost_a_month == pytest.approx(18 * 0.1 * 730)


def test_the_three_questions() -> None:
    twice, slower, fewer = what_ifs(plan_pool(STEADY, Terms()), Terms())
    assert twice.queueing is not None
    assert not twice.queueing.stable
    assert twice.queueing.growth == pytest.approx(20 - 36 / 2)
    assert twice.workers_needed == 72
    assert slower.queueing is not None
    assert slower.queueing.utilisation > 20 / 36
    assert fewer.workers == 34
    assert fewer.queueing is not None
    assert fewer.queueing.mean_wait > plan_pool(STEADY, Terms()).queueing.mean_wait
    assert fewer.workers_needed == 36


def test_a_question_whose_answer_is_absurd_leaves_the_plan() -> None:
    large = plan_pool(Demand(pool="x", rate=40_000, durations=from_mean(1, 1)), Terms())
    twice, *_ = what_ifs(large, Terms())
    assert (large.workers, twice.workers_needed) == (71_430, None)
    said = list(lines(make_plan([large.demand], Terms())))
    assert any("would need more than 100,000" in line for line in said)


def test_a_queue_whose_jobs_nobody_does_is_not_left_out() -> None:
    plan = make_plan([STEADY], Terms())
    assert as_facts(plan, unended={"low": 40})["unended"] == {"low": 40}
    assert any("low: NO PLAN. 40 jobs" in line for line in lines(plan, unended={"low": 40}))


@pytest.mark.parametrize(("p50", "p95"), [(0.0, 2.0), (1e-9, 2.0), (0.0, 0.0)])
def test_durations_that_no_lognormal_has_get_a_slower_tail_too(p50: float, p95: float) -> None:
    odd = Demand(pool="x", rate=1, durations=Durations(mean=1.0, scv=9.0, p50=p50, p95=p95))
    _, slower, _ = what_ifs(plan_pool(odd, Terms()), Terms())
    assert slower.workers_needed == plan_pool(replace(odd, rate=3), Terms()).workers


def test_the_last_replica_of_a_pool_dies() -> None:
    idle = plan_pool(Demand(pool="low", rate=0.01, durations=from_mean(1, 1)), Terms())
    none_left = what_ifs(idle, Terms())[2]
    assert (none_left.workers, none_left.queueing) == (0, None)
    json.dumps(as_facts(make_plan([idle.demand], Terms())), allow_nan=False)


def test_arrivals_of_the_busiest_hour_and_how_bursty_they_are() -> None:
    day = timedelta(hours=24)
    even = arrivals(dict.fromkeys(range(1440), 60), day)
    assert (even.mean_rate, even.peak_rate, even.scv, even.jobs) == (1.0, 1.0, 0.0, 86_400)
    noon = arrivals({**dict.fromkeys(range(1440), 6), **dict.fromkeys(range(720, 780), 600)}, day)
    assert noon.peak_rate == 10.0
    assert noon.mean_rate == pytest.approx((1380 * 6 + 60 * 600) / 86_400)
    assert noon.scv == 0.0
    assert arrivals({30: 6000}, timedelta(hours=1)).scv > 1000


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("[pools.x]\narrival_rate = 1\n", "give mean_seconds, or p50_seconds and p95_seconds"),
        ("[pools.x]\narrival_rate = -1\nmean_seconds = 1\n", "pools.x.arrival_rate"),
        ("[pools.x]\narrival_rate = nan\nmean_seconds = 1\n", "pools.x.arrival_rate"),
        ("[pools.x]\narrival_rate = 1\nmean = 1\n", "pools.x.mean: Extra inputs"),
        ("[pools.x]\narrival_rate = 1\np50_seconds = 3\np95_seconds = 1\n", "at most p95_seconds"),
        ("[pools.x\n", "can't be read"),
        ("[pools]\n", "pools"),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path: Path, words: str, says: str) -> None:
    file = tmp_path / "load.toml"
    file.write_text(words)
    with pytest.raises(Unprocessable, match=says):
        read_file(file)


def test_a_file_in_json(tmp_path: Path) -> None:
    file = tmp_path / "load.json"
    pool = {"arrival_rate": 3, "p50_seconds": 1, "p95_seconds": 4, "backlog": 9}
    file.write_text(json.dumps({"pools": {"high": pool}, "terms": {"concurrency": 4.0}}))
    given_file = read_file(file)
    demand = given_file.pools["high"].demand("high")
    assert (demand.pool, demand.rate, demand.backlog) == ("high", 3, 9)
    assert demand.durations.mean == pytest.approx(1.426, abs=0.01)
    assert terms_of(given_file.terms) == Terms(concurrency=4)


@pytest.mark.parametrize(
    "facts",
    [
        *({"utilisation": one} for one in (0.0, 1.0, 1.5, -0.1, nan)),
        *({"headroom": one} for one in (-1, nan, inf)),
        *({"wait_p95": one} for one in (-1, nan, inf)),
        *({"child_mib": one} for one in (-1, nan, inf)),
        {"concurrency": 0},
        {"web_processes": -4},
        {"dispatchers": -1},
        {"max_connections": 0},
        {"pooler_connections": -1},
        {"price": nan},
        {"typo": 1},
    ],
)
def test_terms_that_cannot_be_are_refused(facts: dict[str, float]) -> None:
    with pytest.raises(Unprocessable, match=r"^terms: "):
        terms_of(facts)


@pytest.mark.parametrize(
    "odd",
    [
        {"p50_seconds": 1e-30, "p95_seconds": 1},
        {"mean_seconds": 1, "scv_durations": 1e300},
        {"mean_seconds": inf},
        {"mean_seconds": 1, "arrival_rate": nan},
        {"mean_seconds": 1, "backlog": -1},
    ],
)
def test_loads_that_cannot_be_are_refused_in_words(odd: dict[str, float]) -> None:
    with pytest.raises(Unprocessable):
        one_pool({"arrival_rate": 1, **odd})


@pytest.mark.parametrize(
    "most", [{"p50_seconds": 1e-3, "p95_seconds": 1e3}, {"scv_durations": 1e6, "mean_seconds": 1}]
)
def test_the_widest_loads_that_are_taken_make_a_plan(most: dict[str, float]) -> None:
    demand = one_pool({"arrival_rate": 1e-9, **most}).demand("x")
    json.dumps(as_facts(make_plan([demand], Terms())), allow_nan=False)


def test_milliseconds_taken_for_seconds_are_noticed() -> None:
    pool = one_pool({"arrival_rate": 1000, "mean_seconds": 500})
    with pytest.raises(Unprocessable, match="durations are seconds"):
        plan_pool(pool.demand("x"), Terms())
