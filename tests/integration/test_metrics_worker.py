"""What Prometheus reads from a worker: two children, each recycled after a few jobs."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from infra.local.ports import accepts, choose_ports
from tests.support.fleet import Fleet, fleet_on
from tests.support.metrics import scrape
from tests.support.servers import Servers, wait_for
from tests.support.worker_jobs import Hold, Killer, Slow, Tally


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> int:
    kept = tmp_path_factory.mktemp("ports") / "ports.json"
    return choose_ports(["metrics"], kept, seed=str(kept))["metrics"]


@pytest.fixture(scope="module")
def fleet(servers: Servers, tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    with fleet_on(servers, folder, worker_max_tasks_per_child=5) as made:
        made.start_dispatcher()
        made.start_worker(metrics_port=port)
        wait_for(lambda: accepts(port), what="the metrics' port")
        yield made


def test_what_children_counted_outlives_them_and_never_falls(fleet: Fleet, port: int) -> None:
    jobs = fleet.enqueue([Tally() for _ in range(30)])
    seen = scrape(port).rising

    def all_done() -> bool:
        now = scrape(port).rising
        fallen = {key: value for key, value in seen.items() if now.get(key, -1.0) < value}
        assert not fallen
        seen.update(now)
        return fleet.count("succeeded", jobs) == len(jobs)

    wait_for(all_done, seconds=60, what="the jobs")
    done = {"kind": "test.tally", "queue": "default", "outcome": "done"}
    wait_for(
        lambda: scrape(port).value("millrace_job_attempts_total", **done) == 30,
        what="30 jobs counted",
    )
    found = scrape(port)
    labels = {"kind": "test.tally", "queue": "default"}
    assert found.value("millrace_job_run_seconds_count", **labels) == 30
    assert found.value("millrace_job_wait_seconds_count", **labels) == 30
    assert found.value("millrace_job_tries_sum", **labels) == 30
    assert found.value("millrace_pool_children_started_total", pool="worker") > 2
    assert found.value("millrace_pool_slots", pool="worker") == 2
    wait_for(
        lambda: scrape(port).value("millrace_pool_children_memory_bytes", pool="worker") > 1e7,
        what="children, after the last ones have been replaced",
    )
    assert found.value("millrace_pool_busy_seconds_total", pool="worker") > 0
    fleet.assert_each_done_once(jobs)


def test_a_busy_slot_and_an_unanswered_message_show_while_a_job_runs(
    fleet: Fleet, port: int, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    (job,) = fleet.enqueue([Hold(gate=str(gate))])
    fleet.wait_until("running", [job])
    found = scrape(port)
    assert found.value("millrace_pool_slots_busy", pool="worker") == 1
    assert found.value("millrace_pool_unacknowledged_messages", pool="worker") == 1
    gate.touch()
    fleet.wait_until("succeeded", [job])
    wait_for(
        lambda: scrape(port).value("millrace_pool_slots_busy", pool="worker") == 0,
        what="an idle pool",
    )


def test_killed_children_and_soft_limits(fleet: Fleet, port: int, tmp_path: Path) -> None:
    killer, slow = fleet.enqueue([Killer(), Slow(tidied=str(tmp_path / "tidied"))])
    fleet.wait_until("dead", [killer])
    fleet.wait_until("succeeded", [slow])
    labels = {"queue": "default"}
    found = scrape(port)
    attempts = "millrace_job_attempts_total"
    assert found.value(attempts, kind="test.killer", outcome="dead", **labels) == 1
    assert found.value(attempts, kind="test.slow", outcome="retry", **labels) == 1
    timeouts = "millrace_job_timeouts_total"
    assert found.value(timeouts, kind="test.slow", limit="soft", **labels) == 1
    assert found.value("millrace_job_tries_sum", kind="test.slow", **labels) == 2


def test_a_dead_workers_series_go_away_and_its_port_is_free_for_the_next(
    fleet: Fleet, port: int
) -> None:
    worker = fleet._running.pop("worker")
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait(10)
    with pytest.raises(httpx.ConnectError):
        scrape(port)
    fleet.start_worker(metrics_port=port)
    wait_for(lambda: accepts(port), what="the metrics' port")
    assert scrape(port).total("millrace_job_attempts_total") == 0
