"""The board that a worker's children count on: right over kills, recycling and restarts, and bounded."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from app.ids import new_id
from app.ledger.store import Claimed
from app.metrics import declared
from app.metrics.board import Board
from app.metrics.declared import Metric, Process, Type
from tests.support.metrics import Samples
from workers.runtime import metering
from workers.runtime.pool_status import PoolCollector

QUEUES = {"mail.welcome": "high", "import.chunk": "default"}
MAIL = {"kind": "mail.welcome", "queue": "high"}


@pytest.fixture
def board() -> Board:
    return metering.make_board(QUEUES, children=2)


@pytest.fixture(autouse=True)
def nothing_counted_afterwards() -> Iterator[None]:
    yield
    metering.stop()


def job(*, attempt: int = 1, waited: float | None = 0.2) -> Claimed:
    return Claimed(
        id=new_id(),
        tenant_id=UUID(int=0),
        kind="mail.welcome",
        version=1,
        queue="high",
        payload={},
        attempt=attempt,
        max_attempts=3,
        traceparent=None,
        checkpoint=None,
        waited_seconds=waited,
        taken_over=False,
    )


def in_child(act: Callable[[], None], *, die: bool = False) -> int:
    """Run it in a process of its own, which then ends, or is killed; its id."""
    child = os.fork()
    if child == 0:
        act()
        if die:
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(0)
    os.waitpid(child, 0)
    return child


def shown(board: Board) -> Samples:
    """What Prometheus would read."""
    registry = CollectorRegistry()
    registry.register(PoolCollector(board, pool="high", slots=lambda: 2, unacknowledged=lambda: 3))
    return Samples(generate_latest(registry).decode())


def test_what_a_killed_child_counted_stays_and_its_successor_goes_on(board: Board) -> None:
    def work() -> None:
        metering.begin_child(board, 0, QUEUES)
        metering.message_begins()
        metering.settled(job(), "done", 0.004)

    for number in range(1, 4):
        in_child(work, die=number % 2 == 1)
        found = shown(board)
        assert found.value("millrace_job_attempts_total", **MAIL, outcome="done") == number
        assert found.value("millrace_pool_children_started_total", pool="high") == number
        assert found.value("millrace_job_run_seconds_count", **MAIL) == number


def test_children_side_by_side_add_up(board: Board) -> None:
    def work(index: int) -> None:
        metering.begin_child(board, index, QUEUES)
        for _ in range(500):
            metering.settled(job(), "retry", 1.0)

    for index in range(2):
        in_child(partial(work, index))
    assert shown(board).value("millrace_job_attempts_total", **MAIL, outcome="retry") == 1000


def test_histograms_are_cumulative_and_hold_what_is_on_their_bounds(board: Board) -> None:
    metering.begin_child(board, 0, QUEUES)
    for seconds in (0.001, 0.002, 5.0, 10_000.0):
        metering.settled(job(waited=None), "done", seconds)
    found = shown(board)
    name = "millrace_job_run_seconds_bucket"
    assert found.value(name, **MAIL, le="0.001") == 1
    assert found.value(name, **MAIL, le="0.0025") == 2
    assert found.value(name, **MAIL, le="5.0") == 3
    assert found.value(name, **MAIL, le="900.0") == 3
    assert found.value(name, **MAIL, le="+Inf") == 4
    assert found.value("millrace_job_run_seconds_sum", **MAIL) == pytest.approx(10_005.003)
    assert found.value("millrace_job_wait_seconds_count", **MAIL) == 0


def test_tries_are_those_of_jobs_that_ended(board: Board) -> None:
    metering.begin_child(board, 0, QUEUES)
    metering.settled(job(attempt=1), "retry", 0.1)
    metering.settled(job(attempt=2), "dead", 0.1)
    found = shown(board)
    assert found.value("millrace_job_tries_count", **MAIL) == 1
    assert found.value("millrace_job_tries_sum", **MAIL) == 2


def test_the_busy_time_goes_on_during_a_job_and_never_falls(board: Board) -> None:
    collector = PoolCollector(board, pool="high", slots=lambda: 2, unacknowledged=lambda: 0)

    def busy() -> float:
        families = {family.name: family for family in collector.collect()}
        return float(families["millrace_pool_busy_seconds"].samples[0].value)

    metering.begin_child(board, 0, QUEUES)
    metering.message_begins()
    begun = time.monotonic()
    while time.monotonic() - begun < 0.02:
        pass
    seen = [busy()]
    assert seen[0] >= 0.02
    assert shown(board).value("millrace_pool_slots_busy", pool="high") == 1
    board.row(0).set(metering.SINCE, 0.0)  # killed, and its time not added
    seen.append(busy())
    metering.begin_child(board, 0, QUEUES)
    metering.message_begins()
    metering.message_ends()
    seen.append(busy())
    assert seen == sorted(seen)
    assert shown(board).value("millrace_pool_slots_busy", pool="high") == 0


def test_the_memory_of_dead_children_is_not_counted(board: Board) -> None:
    in_child(lambda: metering.begin_child(board, 0, QUEUES))
    assert shown(board).value("millrace_pool_children_memory_bytes", pool="high") == 0
    metering.begin_child(board, 0, QUEUES)
    assert shown(board).value("millrace_pool_children_memory_bytes", pool="high") > 1_000_000


def test_kinds_that_nobody_declared_are_counted_nowhere(board: Board) -> None:
    metering.begin_child(board, 0, QUEUES)
    before = shown(board)
    metering.fruitless("made.up", "lost_lease")
    assert shown(board).keys == before.keys
    metering.fruitless("mail.welcome", "lost_lease")
    assert shown(board).value("millrace_job_attempts_total", **MAIL, outcome="lost_lease") == 1


def test_a_pool_that_grew_shares_rows_and_not_with_the_main_process(board: Board) -> None:
    for index in range(200):
        metering.begin_child(board, index, QUEUES)
    main = board.cells(metering.STARTED)[-1]
    assert main == 0
    assert board.value(metering.STARTED) == 200


def test_an_attempt_costs_microseconds(board: Board) -> None:
    """A small job takes a millisecond; this bound is ten times what was measured."""
    metering.begin_child(board, 0, QUEUES)
    one = job()
    best = 1.0
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(200):
            metering.message_begins()
            metering.settled(one, "done", 0.003)
            metering.message_ends()
        best = min(best, (time.perf_counter() - began) / 200)
    assert best < 50e-6


def test_names_follow_prometheus() -> None:
    names = [metric.name for metric in declared.ALL]
    assert len(set(names)) == len(names)
    for metric in declared.ALL:
        assert metric.name.startswith("millrace_")
        assert metric.name.endswith("_total") == (metric.type is Type.COUNTER), metric.name
        assert bool(metric.buckets) == (metric.type is Type.HISTOGRAM)
        assert metric.buckets == tuple(sorted(metric.buckets))
        assert not {"tenant", "tenant_id", "job", "job_id"} & set(metric.labels)
        assert metric.process in Process
        assert isinstance(metric, Metric)
