"""What each service may take of the machine, held against what it needs. Nothing is started."""

import re

import anyio
import anyio.to_thread
import pytest

from app.settings import Settings
from tests.architecture.test_compose import OURS, SERVICES, WORKERS
from tests.support import threads

CORES = 64
"""Of the biggest machine that the limits are made for."""
HEALTH_CHECK = 4
"""What Docker, or somebody with `exec`, starts beside it."""
OF_POSTGRES = 64
"""Beside its connections: writers, WAL senders, autovacuum, parallel queries, a dump."""


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_memory_ends_where_its_limit_says_and_not_in_swap(name: str) -> None:
    assert SERVICES[name]["memswap_limit"] == SERVICES[name]["mem_limit"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_no_service_can_take_all_of_the_machine_s_processes(name: str) -> None:
    assert 0 < SERVICES[name]["pids_limit"] <= 2048


@pytest.mark.parametrize("name", sorted(WORKERS))
def test_a_pool_has_room_for_each_child_and_what_that_starts(name: str) -> None:
    """A child decodes files in a process of its own; one that is replaced may be there still."""
    children = Settings.model_fields["worker_concurrency"].default
    needed = threads.at_most(1 + 2 * children, cores=CORES) + children + HEALTH_CHECK
    assert needed <= SERVICES[name]["pids_limit"]


@pytest.mark.parametrize("name", sorted(set(OURS) - set(WORKERS)))
def test_a_single_process_of_ours_has_room(name: str) -> None:
    needed = threads.at_most(1, cores=CORES) + requests_at_once() + HEALTH_CHECK
    assert needed <= SERVICES[name]["pids_limit"]


def requests_at_once() -> int:
    """Threads that serve them: of AnyIO's, and of asyncio's own pool."""

    async def ask() -> int:
        return int(anyio.to_thread.current_default_thread_limiter().total_tokens)

    return anyio.run(ask) + 32


def test_postgresql_has_room_for_all_of_its_connections() -> None:
    found = re.search(r"max_connections=(\d+)", " ".join(SERVICES["postgres"]["command"]))
    assert found
    assert int(found[1]) + OF_POSTGRES <= SERVICES["postgres"]["pids_limit"]


def test_the_broker_has_room_for_two_runtimes() -> None:
    """Its own and that of a `rabbitmqctl` or its health check, each with two schedulers for a core and some 40 threads."""
    assert SERVICES["rabbitmq"]["pids_limit"] >= 2 * (2 * CORES + 40) + HEALTH_CHECK
