"""One rate limit over all processes: never above it, however late requests arrive, and near it."""

import random
import threading
import time
from collections.abc import Sequence
from contextlib import closing

import pytest
from sqlalchemy import Engine, text

from app.outbound import limiter as limiting
from app.outbound.errors import ConnectionFailed, TimedOut
from app.outbound.limiter import Limiter, Rate, RateLimited, forget_rate
from tests.support.customers import Customer

SCOPE = "crm"
SECOND = Rate(limit=4, timeout_seconds=30)
SLOW = Rate(limit=1, window_seconds=10, timeout_seconds=30)


def use(limiter: Limiter, times: int = 1, *, max_wait: float = 5.0) -> None:
    for _ in range(times):
        with limiter.slot(max_wait=max_wait):
            pass


def wait_of(limiter: Limiter) -> float:
    """How long the next request would have to wait, and isn't let to."""
    with pytest.raises(RateLimited) as refused, limiter.slot(max_wait=0):
        pass
    return refused.value.retry_after


def later(engine: Engine, seconds: float) -> None:
    """As if everything had happened earlier by so much."""
    query = text("""
        UPDATE rate_limits
        SET pending = ARRAY(SELECT p - s FROM unnest(pending) AS p),
            cooling = ARRAY(SELECT c - s FROM unnest(cooling) AS c),
            next_at = next_at - s, blocked_until = blocked_until - s
        FROM (SELECT make_interval(secs => :seconds) AS s) AS shift
    """)
    with engine.begin() as tx:
        tx.execute(query, {"seconds": seconds})


def counting(engine: Engine) -> tuple[int, int]:
    """How many requests count because they have no answer yet, and because they had one lately."""
    query = text("SELECT cardinality(pending), cardinality(cooling) FROM rate_limits")
    with engine.connect() as tx:
        pending, cooling = tx.execute(query).one()
    return pending, cooling


def busiest(times: Sequence[float], window: float) -> int:
    """The most that fell into any window of that length."""
    return max(sum(begin <= one < begin + window for one in times) for begin in times)


def test_requests_are_paced_and_the_window_holds(engine: Engine, tenant: Customer) -> None:
    limiter = Limiter(engine, tenant.id, SCOPE, SECOND)
    begun = time.monotonic()
    starts = []
    for _ in range(6):
        use(limiter)
        starts.append(time.monotonic() - begun)
    assert starts[1] > 0.2
    assert starts[3] > 0.6
    assert starts[4] > 1
    assert busiest(starts, 1.0) <= 4


def test_a_request_that_would_wait_too_long_reserves_nothing(
    engine: Engine, tenant: Customer
) -> None:
    limiter = Limiter(engine, tenant.id, SCOPE, Rate(limit=4, window_seconds=40))
    use(limiter)
    assert 0 < wait_of(limiter) <= 9
    assert 0 < wait_of(limiter) <= 9
    limiter.close()
    assert counting(engine) == (0, 1)


def test_a_request_of_unknown_fate_counts_until_it_cannot_arrive_any_more(
    engine: Engine, tenant: Customer
) -> None:
    limiter = Limiter(engine, tenant.id, SCOPE, SLOW)
    with pytest.raises(TimedOut), limiter.slot(max_wait=0):
        raise TimedOut("no answer")
    limiter.close()
    later(engine, SLOW.timeout_seconds + limiting.LATENESS_SECONDS)
    assert 0 < wait_of(limiter) <= 10
    later(engine, 10)
    use(limiter, max_wait=0)


def test_a_request_whose_connection_is_gone_counts_for_a_window(
    engine: Engine, tenant: Customer
) -> None:
    limiter = Limiter(engine, tenant.id, SCOPE, SLOW)
    with pytest.raises(ConnectionFailed), limiter.slot(max_wait=0):
        raise ConnectionFailed("refused")
    assert 0 < wait_of(limiter) <= 10
    later(engine, 10)
    use(limiter, max_wait=0)


def test_an_answer_counts_from_when_it_came_and_not_from_when_we_said_so(
    engine: Engine, tenant: Customer
) -> None:
    limiter = Limiter(engine, tenant.id, SCOPE, SLOW)
    use(limiter, max_wait=0)
    time.sleep(0.4)
    assert 0 < wait_of(limiter) <= 9.6


def test_what_the_server_asks_for_holds_for_everybody(
    engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    one, other = (Limiter(engine, tenant.id, SCOPE, SECOND) for _ in range(2))
    use(one)
    one.hold_off(30)
    one.hold_off(7)
    assert 29 < wait_of(other) <= 30
    use(Limiter(engine, stranger.id, SCOPE, SECOND), max_wait=0)
    later(engine, 30)
    use(other, max_wait=0)


def test_it_also_holds_for_whoever_has_a_turn_already(engine: Engine, tenant: Customer) -> None:
    waiting = Limiter(engine, tenant.id, SCOPE, SECOND, ahead=3)
    use(waiting)
    Limiter(engine, tenant.id, SCOPE, SECOND).hold_off(60)
    with pytest.raises(RateLimited) as refused:
        use(waiting, max_wait=3)
    assert 55 < refused.value.retry_after <= 60


def test_an_overslept_turn_is_given_back(
    engine: Engine, tenant: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter = Limiter(engine, tenant.id, SCOPE, SECOND, ahead=2)
    use(limiter)
    monkeypatch.setattr(limiting, "LATENESS_SECONDS", 0.05)
    time.sleep(0.4)
    begun = time.monotonic()
    use(limiter)
    limiter.close()
    assert counting(engine) == (0, 2)
    assert time.monotonic() - begun < 2


def test_turns_that_are_not_used_are_given_back(engine: Engine, tenant: Customer) -> None:
    with closing(Limiter(engine, tenant.id, SCOPE, SECOND, ahead=4)) as limiter:
        use(limiter)
        assert counting(engine) == (4, 0)
    assert counting(engine) == (0, 1)


def test_another_limit_holds_from_now_on(engine: Engine, tenant: Customer) -> None:
    use(Limiter(engine, tenant.id, SCOPE, SECOND))
    fewer = Limiter(engine, tenant.id, SCOPE, Rate(limit=1, window_seconds=10))
    with engine.begin() as tx:
        tx.execute(text("UPDATE rate_limits SET next_at = '-infinity'"))
    assert wait_of(fewer) > 5
    with engine.begin() as tx:
        forget_rate(tx, tenant.id, SCOPE)
    use(fewer, max_wait=0)


@pytest.mark.parametrize("ahead", [1, 3])
def test_never_above_it_with_many_at_once_however_late_requests_arrive(
    engine: Engine, tenant: Customer, ahead: int
) -> None:
    """Eight callers; each request arrives somewhere between its turn and its answer."""
    rate = Rate(limit=20, window_seconds=0.5)
    arrivals: list[float] = []
    ends_at = time.monotonic() + 2.5

    def call(seed: int) -> None:
        dice = random.Random(seed)  # noqa: S311
        with closing(Limiter(engine, tenant.id, SCOPE, rate, ahead=ahead)) as limiter:
            while time.monotonic() < ends_at:
                with limiter.slot(max_wait=5):
                    time.sleep(dice.choice((0, 0, 0, 0.02, 0.15)))
                    arrivals.append(time.monotonic())
                    time.sleep(dice.choice((0, 0, 0.01)))

    callers = [threading.Thread(target=call, args=(seed,)) for seed in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)
    assert busiest(arrivals, 0.5) <= 20
    assert len(arrivals) > 60
