"""What the local system runs, on whatever machine."""

import pytest

from app.connections import RESERVED, SPARE, Processes, planned, read_processes
from infra.local.postgres import SETTINGS
from infra.local.workers import PROCESSES, WORKERS, children_on


@pytest.mark.parametrize("cores", [1, 2, 4, 8, 32, 256])
def test_its_own_postgresql_takes_the_connections_of_its_processes(cores: int) -> None:
    plan = PROCESSES.replace(
        f"default=1x{WORKERS['worker-default'][1]}", f"default=1x{children_on(cores)}"
    )
    processes = read_processes(plan)
    assert isinstance(processes, Processes)
    lines = planned(processes, db_pool_size=10, worker_concurrency=1)
    children = next(line.processes for line in lines if line.process == "worker child")
    assert 1 + max(2, min(cores, 8)) + 2 == children
    wanted = sum(line.postgres for line in lines)
    assert wanted <= int(SETTINGS["max_connections"]) - RESERVED - SPARE
