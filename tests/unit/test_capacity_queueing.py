"""The formulas at their limits, and against a simulation of every single job."""

from math import exp, inf, isclose

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.capacity.durations import from_mean, from_percentiles, with_slower_tail
from app.capacity.measured import dispersion
from app.capacity.queueing import Load, drain_seconds, erlang_c, queueing, servers_for_wait
from bench.queue_simulation import in_bursts, lognormal, poisson, waits, waits_by_simpy

RATES = st.floats(0.01, 100)
MEANS = st.floats(0.001, 100)
SERVERS = st.integers(1, 60)
VARIATIONS = st.floats(0, 20)


@given(rate=RATES, busy=st.floats(0.01, 0.99))
def test_one_server_is_m_m_1(rate: float, busy: float) -> None:
    found = queueing(Load(rate=rate, mean=busy / rate), 1)
    assert isclose(found.delayed, busy, rel_tol=1e-9)
    assert isclose(found.mean_wait, busy / (1 - busy) * busy / rate, rel_tol=1e-6)
    for share in (0.5, 0.95, 0.99):
        beyond = busy * exp(-(1 - busy) * rate / busy * found.wait(share))
        assert beyond <= 1 - share or isclose(beyond, 1 - share, rel_tol=1e-6)


@given(rate=RATES, mean=MEANS, servers=SERVERS, arrivals=VARIATIONS, durations=VARIATIONS)
@settings(max_examples=200)
def test_more_servers_never_wait_longer_and_more_load_never_less(
    rate: float, mean: float, servers: int, arrivals: float, durations: float
) -> None:
    load = Load(rate=rate, mean=mean, scv_arrivals=arrivals, scv_durations=durations)
    more = Load(rate=rate * 1.1, mean=mean, scv_arrivals=arrivals, scv_durations=durations)
    here, wider = queueing(load, servers), queueing(load, servers + 1)
    assert wider.mean_wait <= here.mean_wait
    assert queueing(more, servers).mean_wait >= here.mean_wait
    assert here.wait(0.5) <= here.wait(0.95) <= here.wait(0.99)
    assert 0 <= here.delayed <= 1
    assert here.stable == (here.utilisation < 1)
    if not here.stable:
        assert here.mean_wait == here.wait(0.5) == inf
        assert here.growth == pytest.approx(rate - servers / mean)


@given(offered=st.floats(0.1, 50), servers=SERVERS)
def test_the_share_that_waits_is_erlangs(offered: float, servers: int) -> None:
    if offered >= servers:
        assert erlang_c(servers, offered) == 1.0
        return
    terms = [1.0]
    for number in range(1, servers + 1):
        terms.append(terms[-1] * offered / number)
    last = terms[-1] * servers / (servers - offered)
    assert erlang_c(servers, offered) == pytest.approx(last / (sum(terms[:-1]) + last))


@given(rate=st.floats(0.1, 50), mean=st.floats(0.01, 2), wanted=st.floats(0.001, 10))
@settings(max_examples=50)
def test_the_fewest_servers_for_a_wait(rate: float, mean: float, wanted: float) -> None:
    load = Load(rate=rate, mean=mean)
    servers = servers_for_wait(load, wanted)
    assert queueing(load, servers).wait(0.95) <= wanted
    assert servers == 1 or queueing(load, servers - 1).wait(0.95) > wanted


def test_a_backlog_drains_at_what_is_left_over() -> None:
    load = Load(rate=10, mean=0.5)
    assert drain_seconds(load, 10, 600) == pytest.approx(60)
    assert drain_seconds(load, 5, 600) == inf
    assert drain_seconds(load, 5, 0) == 0


@given(p50=st.floats(0.001, 100), spread=st.floats(1, 100))
def test_durations_from_percentiles_and_back(p50: float, spread: float) -> None:
    there = from_percentiles(p50, p50 * spread)
    back = from_mean(there.mean, there.scv)
    assert back.p50 == pytest.approx(there.p50, rel=1e-6)
    assert back.p95 == pytest.approx(there.p95, rel=1e-6)
    same = with_slower_tail(there, 1)
    assert same.mean == pytest.approx(there.mean)
    assert same.p95 == pytest.approx(there.p95)
    assert with_slower_tail(there, 3).mean > there.mean
    assert with_slower_tail(there, 3).scv > there.scv


def test_the_simulation_is_simpys_job_by_job() -> None:
    random = np.random.default_rng(1)
    arrivals, durations = poisson(random, 5, 2000), lognormal(random, 0.7, 4, 2000)
    assert waits(arrivals, durations, 4) == pytest.approx(waits_by_simpy(arrivals, durations, 4))


@pytest.mark.parametrize(
    ("servers", "busy", "scv"),
    [
        (1, 0.7, 1.0),
        (4, 0.8, 1.0),
        (10, 0.85, 1.0),
        (4, 0.8, 3.0),
        (10, 0.85, 2.0),
        (8, 0.8, 0.3),
    ],
)
def test_the_mean_wait_is_the_simulations(servers: int, busy: float, scv: float) -> None:
    random = np.random.default_rng(7)
    jobs = 400_000
    durations = random.exponential(1, jobs) if scv == 1.0 else lognormal(random, 1, scv, jobs)
    simulated = waits(poisson(random, servers * busy, jobs), durations, servers)
    load = Load(rate=servers * busy, mean=1, scv_durations=scv)
    assert queueing(load, servers).mean_wait == pytest.approx(simulated.mean(), rel=0.15)


def test_with_many_servers_and_little_load_it_says_too_much_rather_than_too_little() -> None:
    random = np.random.default_rng(7)
    arrivals, durations = poisson(random, 14, 400_000), lognormal(random, 1, 3, 400_000)
    simulated = waits(arrivals, durations, 20).mean()
    model = queueing(Load(rate=14, mean=1, scv_durations=3), 20).mean_wait
    assert 0.95 * simulated < model < 1.35 * simulated


@pytest.mark.parametrize(("rate", "scv", "wanted"), [(20.0, 1.0, 0.5), (20.0, 3.0, 1.0)])
def test_the_workers_for_a_wait_are_the_simulations(rate: float, scv: float, wanted: float) -> None:
    random = np.random.default_rng(8)
    arrivals, durations = poisson(random, rate, 80_000), lognormal(random, 1, scv, 80_000)
    needed = next(
        servers
        for servers in range(int(rate) + 1, 200)
        if np.quantile(waits(arrivals, durations, servers), 0.95) <= wanted
    )
    load = Load(rate=rate, mean=1, scv_durations=scv)
    assert servers_for_wait(load, wanted) == pytest.approx(needed, rel=0.15)


def test_in_bursts_the_model_says_that_it_does_not_hold() -> None:
    random = np.random.default_rng(9)
    arrivals, durations = in_bursts(random, 6, 300, 60_000), random.exponential(1, 60_000)
    minutes = np.bincount((arrivals // 60).astype(int)).tolist()
    load = Load(rate=6, mean=1, scv_arrivals=dispersion(minutes))
    found = queueing(load, 10)
    assert not found.holds
    blind = queueing(Load(rate=6, mean=1), 10)
    assert blind.holds
    assert waits(arrivals, durations, 10).mean() > 10 * blind.mean_wait
