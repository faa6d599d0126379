"""A circuit breaker that all processes share: opens, probes, closes, and is never fooled by the past."""

import threading
from collections import Counter
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.outbound.breaker import (
    Breaker,
    BreakerPolicy,
    CircuitOpen,
    Permit,
    circuit_changes,
    circuit_state,
    forget_circuit,
)
from tests.support.customers import Customer

SCOPE = "crm"
POLICY = BreakerPolicy(threshold=3, window_seconds=60, cool_down_seconds=5, probe_seconds=30)


class Down(Exception):
    """What the server's failures are here."""


@pytest.fixture
def breaker(engine: Engine, tenant: Customer) -> Breaker:
    return Breaker(engine, tenant.id, SCOPE, POLICY)


def state(engine: Engine, tenant: Customer) -> str:
    with engine.connect() as tx:
        found = circuit_state(tx, tenant.id, SCOPE)
    return "closed" if found is None else found.state


def changes(engine: Engine, tenant: Customer) -> list[tuple[str, str]]:
    """Oldest first."""
    with engine.connect() as tx:
        found = circuit_changes(tx, tenant.id, SCOPE)
    return [(each.from_state, each.to_state) for each in reversed(found)]


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(Down), breaker.passing(Down):
            raise Down("503")


def cool_down(engine: Engine) -> float:
    """In seconds, from the change to the retry."""
    query = text("SELECT extract(epoch FROM retry_at - changed_at)::float FROM circuit_breakers")
    with engine.connect() as tx:
        return round(float(tx.execute(query).scalar_one()), 2)


def later(engine: Engine, seconds: float) -> None:
    """As if everything had happened earlier by so much."""
    query = text("""
        UPDATE circuit_breakers
        SET changed_at = changed_at - s, retry_at = retry_at - s, probe_until = probe_until - s,
            failures = ARRAY(SELECT f - s FROM unnest(failures) AS f)
        FROM (SELECT make_interval(secs => :seconds) AS s) AS shift
    """)
    with engine.begin() as tx:
        tx.execute(query, {"seconds": seconds})


def opened(engine: Engine, breaker: Breaker) -> None:
    fail(breaker, POLICY.threshold)
    with pytest.raises(CircuitOpen):
        breaker.admit()


def probing(engine: Engine, breaker: Breaker) -> Permit:
    opened(engine, breaker)
    later(engine, POLICY.cool_down_seconds)
    permit = breaker.admit()
    assert permit.is_probe
    return permit


def test_failures_in_a_row_open_it_for_everybody(
    engine: Engine, tenant: Customer, stranger: Customer, breaker: Breaker
) -> None:
    fail(breaker, 2)
    assert state(engine, tenant) == "closed"
    fail(Breaker(engine, tenant.id, SCOPE, POLICY))
    with pytest.raises(CircuitOpen) as refused:
        breaker.admit()
    assert 4 < refused.value.retry_after <= 5
    assert changes(engine, tenant) == [("closed", "open")]
    Breaker(engine, stranger.id, SCOPE, POLICY).admit()
    Breaker(engine, tenant.id, "another", POLICY).admit()
    with engine.connect() as tx:
        found = circuit_state(tx, tenant.id, SCOPE)
    assert found is not None
    assert (found.reason, found.trips, found.failures) == ("Down: 503", 1, 3)


def test_a_success_in_between_ends_the_row(
    engine: Engine, tenant: Customer, breaker: Breaker
) -> None:
    for _ in range(3):
        fail(breaker, 2)
        with breaker.passing(Down):
            pass
    assert state(engine, tenant) == "closed"


def test_old_failures_do_not_count(engine: Engine, tenant: Customer, breaker: Breaker) -> None:
    fail(breaker, 2)
    later(engine, POLICY.window_seconds + 1)
    fail(breaker, 2)
    assert state(engine, tenant) == "closed"
    fail(breaker)
    assert state(engine, tenant) == "open"


def test_exceptions_of_our_own_say_nothing_about_the_server(
    engine: Engine, tenant: Customer, breaker: Breaker
) -> None:
    for _ in range(5):
        with pytest.raises(KeyError), breaker.passing(Down):
            raise KeyError
    assert state(engine, tenant) == "closed"
    probing(engine, breaker)
    breaker.reset("again")
    opened(engine, breaker)
    later(engine, POLICY.cool_down_seconds)
    with pytest.raises(KeyError), breaker.passing(Down):
        raise KeyError
    assert breaker.admit().is_probe, "the next request is the probe at once"


def test_a_probe_that_succeeds_closes_it(
    engine: Engine, tenant: Customer, breaker: Breaker
) -> None:
    breaker.succeeded(probing(engine, breaker))
    assert not breaker.admit().is_probe
    assert changes(engine, tenant) == [
        ("closed", "open"),
        ("open", "half_open"),
        ("half_open", "closed"),
    ]


def test_probes_that_fail_count_and_a_success_ends_the_row(
    engine: Engine, tenant: Customer, breaker: Breaker
) -> None:
    breaker.failed(probing(engine, breaker), "Down: 502")
    with engine.connect() as tx:
        found = circuit_state(tx, tenant.id, SCOPE)
    assert found is not None
    assert (found.state, found.failures, found.reason) == ("open", 4, "Down: 502")
    later(engine, 2 * POLICY.cool_down_seconds)
    breaker.succeeded(breaker.admit())
    with engine.connect() as tx:
        found = circuit_state(tx, tenant.id, SCOPE)
    assert found is not None
    assert (found.state, found.failures) == ("closed", 0)


def test_the_cool_down_grows_to_its_cap_and_begins_again_after_a_good_time(
    engine: Engine, tenant: Customer
) -> None:
    policy = BreakerPolicy(threshold=1, cool_down_seconds=5, cool_down_cap_seconds=30)
    breaker = Breaker(engine, tenant.id, SCOPE, policy)
    seen = []
    fail(breaker)
    for _ in range(4):
        seen.append(cool_down(engine))
        later(engine, 31)
        fail(breaker)
    assert seen == [5, 10, 20, 30]
    later(engine, 31)
    breaker.succeeded(breaker.admit())
    fail(breaker)
    assert cool_down(engine) == 30, "it wasn't well for long"
    later(engine, 31)
    breaker.succeeded(breaker.admit())
    later(engine, policy.window_seconds + 1)
    fail(breaker)
    assert cool_down(engine) == 5


def test_it_stays_open_for_as_long_as_the_server_asks(engine: Engine, breaker: Breaker) -> None:
    fail(breaker, 2)
    breaker.failed(breaker.admit(), "503", retry_after=77)
    assert cool_down(engine) == 77


def test_a_probe_whose_process_died_is_given_up_and_cannot_speak_any_more(
    engine: Engine, tenant: Customer, breaker: Breaker
) -> None:
    lost = probing(engine, breaker)
    with pytest.raises(CircuitOpen) as refused:
        breaker.admit()
    assert refused.value.retry_after <= 1
    later(engine, POLICY.probe_seconds)
    second = breaker.admit()
    assert second.is_probe
    breaker.succeeded(lost)
    assert state(engine, tenant) == "half_open"
    breaker.failed(lost, "late")
    assert state(engine, tenant) == "half_open"
    breaker.succeeded(second)
    assert state(engine, tenant) == "closed"


def test_the_past_changes_nothing(engine: Engine, tenant: Customer, breaker: Breaker) -> None:
    fail(breaker)
    early = [breaker.admit() for _ in range(5)]
    fail(breaker, 2)
    breaker.succeeded(early[0])
    assert state(engine, tenant) == "open"
    later(engine, POLICY.cool_down_seconds)
    probe = breaker.admit()
    breaker.succeeded(early[1])
    assert state(engine, tenant) == "half_open"
    breaker.succeeded(probe)
    for permit in early[2:]:
        breaker.failed(permit, "slow, from before")
    assert state(engine, tenant) == "closed"
    fail(breaker, 2)
    assert state(engine, tenant) == "closed"


def test_a_person_may_close_it(engine: Engine, tenant: Customer, breaker: Breaker) -> None:
    opened(engine, breaker)
    breaker.reset("they say it is mended")
    assert not breaker.admit().is_probe
    with engine.connect() as tx:
        assert circuit_changes(tx, tenant.id, SCOPE)[0].reason == "they say it is mended"


def test_it_can_be_forgotten(engine: Engine, tenant: Customer, breaker: Breaker) -> None:
    opened(engine, breaker)
    with engine.begin() as tx:
        forget_circuit(tx, tenant.id, SCOPE)
    assert (state(engine, tenant), changes(engine, tenant)) == ("closed", [])


def at_once(engine: Engine, tenant_id: UUID, threads: int) -> Counter[str]:
    """What each of so many askers gets, all at the same moment."""
    start = threading.Barrier(threads)
    seen: Counter[str] = Counter()

    def ask() -> None:
        breaker = Breaker(engine, tenant_id, SCOPE, POLICY)
        start.wait(10)
        try:
            seen["probe" if breaker.admit().is_probe else "closed"] += 1
        except CircuitOpen:
            seen["open"] += 1

    askers = [threading.Thread(target=ask) for _ in range(threads)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(20)
    return seen


def test_only_one_of_many_becomes_the_probe(
    engine: Engine, tenant: Customer, breaker: Breaker
) -> None:
    opened(engine, breaker)
    for wait in (POLICY.cool_down_seconds, POLICY.probe_seconds, POLICY.probe_seconds):
        later(engine, wait)
        assert at_once(engine, tenant.id, 12) == {"probe": 1, "open": 11}
    assert changes(engine, tenant) == [("closed", "open"), ("open", "half_open")]


def test_many_failures_at_once_open_it_once(
    engine: Engine, tenant: Customer, breaker: Breaker
) -> None:
    permits = [breaker.admit() for _ in range(12)]
    failing = [
        threading.Thread(target=Breaker(engine, tenant.id, SCOPE, POLICY).failed, args=(each, "x"))
        for each in permits
    ]
    for each in failing:
        each.start()
    for each in failing:
        each.join(20)
    assert changes(engine, tenant) == [("closed", "open")]
    with engine.connect() as tx:
        found = circuit_state(tx, tenant.id, SCOPE)
    assert found is not None
    assert found.trips == 1
