"""The autoscaler of a prefork pool: whom it may end, and what it does when it can see nothing."""

import gc
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from celery.concurrency import prefork, solo, thread
from celery.concurrency.base import BasePool
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine

from app.connections import Processes, Workers
from app.server_limits import REFUSED
from app.settings import Settings, get_settings
from workers.runtime.autoscaling import LagAutoscaler, planned_children, retire
from workers.runtime.process import keep_what_is_loaded

SERVERS = {
    "MILLRACE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "MILLRACE_BROKER_URL": "amqp://nobody@127.0.0.1:1/none",
}


@dataclass(eq=False)
class Child:
    """As far as the autoscaler looks at one of billiard's."""

    pid: int
    ended: bool = False

    @property
    def inqW_fd(self) -> int:  # noqa: N802 - its name there
        return self.pid + 100

    def terminate_controlled(self) -> None:
        self.ended = True


@dataclass
class Job:
    """Given to a child by one of three marks, or to none yet."""

    child: Child | None
    mark: str

    @property
    def _write_to(self) -> Child | None:
        return self.child if self.mark == "written" else None

    @property
    def _scheduled_for(self) -> Child | None:
        return self.child if self.mark == "scheduled" else None

    def worker_pids(self) -> list[int]:
        return [self.child.pid] if self.child and self.mark == "accepted" else []


@dataclass
class Pool:
    """Celery's AsynPool, as far as `retire` touches it."""

    _pool: list[Child]
    _cache: dict[int, Job]
    _busy_workers: set[int] = field(default_factory=set)
    shrunk: int = 0

    def __post_init__(self) -> None:
        self._processes = len(self._pool)
        self._putlock = SimpleNamespace(shrink=lambda: None)

    def on_shrink(self, number: int) -> None:
        self.shrunk += number


@given(
    marks=st.lists(st.sampled_from(["idle", "accepted", "written", "scheduled"]), max_size=8),
    unassigned=st.integers(0, 4),
    number=st.integers(0, 8),
)
def test_no_child_with_a_job_is_ended_and_every_job_keeps_one(
    marks: list[str], unassigned: int, number: int
) -> None:
    children = [Child(pid) for pid in range(1, len(marks) + 1)]
    busy = [(child, mark) for child, mark in zip(children, marks, strict=True) if mark != "idle"]
    jobs = [Job(child, mark) for child, mark in busy] + [Job(None, "none")] * unassigned
    pool = Pool(children, dict(enumerate(jobs)))

    retired = retire(pool, number)

    ended = [child for child in children if child.ended]
    assert len(ended) == retired == pool.shrunk == len(children) - pool._processes
    assert not [child for child, _ in busy if child.ended]
    assert retired == max(0, min(number, marks.count("idle") - unassigned))
    assert pool._busy_workers == {child.inqW_fd for child in ended}


def test_children_beyond_the_plan_are_counted_for_their_pool_alone() -> None:
    plan = Processes(workers=(Workers(pool="high"), Workers(pool="low", replicas=3, children=4)))
    found = {
        (pool, children): str(plan.with_children(pool, children, usually=2))
        for pool, children in (("high", 1), ("high", 5), ("low", 3), ("low", 9), ("none", 9))
    }
    assert found == {
        ("high", 1): "web=1 dispatcher=1 high=1x2 low=3x4",
        ("high", 5): "web=1 dispatcher=1 high=1x5 low=3x4",
        ("low", 3): "web=1 dispatcher=1 high=1 low=3x4",
        ("low", 9): "web=1 dispatcher=1 high=1 low=3x9",
        ("none", 9): "web=1 dispatcher=1 high=1 low=3x4",
    }


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for name, value in {**SERVERS, "MILLRACE_PROCESSES": "default=1x4"}.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    yield monkeypatch
    get_settings.cache_clear()


def worker(
    *queues: str, use_eventloop: bool = True, pool: type[BasePool] = prefork.TaskPool
) -> Any:
    taken = SimpleNamespace(consume_from=dict.fromkeys(queues or ("default",)))
    return SimpleNamespace(
        use_eventloop=use_eventloop,
        pool_cls=pool,
        app=SimpleNamespace(amqp=SimpleNamespace(queues=taken)),
    )


@pytest.mark.usefixtures("environment")
def test_without_the_database_the_pool_keeps_its_size() -> None:
    pool = SimpleNamespace(num_processes=3)
    scaler = LagAutoscaler(pool, 4, 1, worker=worker())
    before = scaler.info()
    away = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")

    assert scaler.look(away, []) == []

    assert scaler.info() == before


@pytest.mark.usefixtures("environment")
def test_a_pool_above_the_plan_of_connections_does_not_start() -> None:
    with pytest.raises(SystemExit) as ended:
        LagAutoscaler(SimpleNamespace(), 5, 1, worker=worker())
    assert ended.value.code == REFUSED


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("most", "least", "of"),
    [
        (4, 0, worker()),
        (1, -3, worker()),
        (1, 2, worker()),
        (4, 1, worker(use_eventloop=False)),
        (4, 1, worker(pool=thread.TaskPool)),
        (4, 1, worker(pool=solo.TaskPool)),
    ],
)
def test_bounds_and_pools_that_it_cannot_work_with(
    most: int,
    least: int,
    of: Any,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(SystemExit) as refused:
        LagAutoscaler(SimpleNamespace(), most, least, worker=of)
    assert refused.value.code == REFUSED
    # To the one or the other, by what ran in this process before.
    assert "--autoscale=MAX,MIN with 1 <= MIN <= MAX" in capsys.readouterr().out + caplog.text


def test_the_plan_is_that_of_the_queue_or_the_concurrency() -> None:
    settings = Settings.of(
        {**SERVERS, "MILLRACE_PROCESSES": "high=1 low=2x7", "MILLRACE_WORKER_CONCURRENCY": "3"}
    )
    assert [planned_children(settings, pool) for pool in ("low", "high", "other")] == [7, 3, 3]


def test_what_a_worker_has_loaded_is_not_looked_through_before_each_fork() -> None:
    """By billiard's collection of garbage, which takes three times as long as a fork."""
    loaded = [[number] for number in range(1000)]
    before = gc.get_freeze_count()
    keep_what_is_loaded()
    assert gc.get_freeze_count() >= before + len(loaded)
