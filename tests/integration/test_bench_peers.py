"""The comparison with other job systems, once, small, with the one that needs no server but PostgreSQL."""

import os
from subprocess import CalledProcessError

import pytest
from sqlalchemy import Engine, text

from bench.peers_sides import Procrastinate
from bench.throughput import measure, running
from bench.throughput_row import CREATE
from infra.local.locked import packages
from tests.support.servers import Servers

JOBS = 30


def test_a_peer_does_its_jobs_only_once_it_may(
    servers: Servers, environment: dict[str, str], engine: Engine
) -> None:
    try:
        packages("peers")
    except CalledProcessError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the peers' packages can't be had: {missing}")
    with engine.begin() as tx:
        tx.execute(CREATE)
    side = Procrastinate(servers.system, engine, 2, environment)
    with running(side):
        rate, cost = measure(side, JOBS)
        processes = side.takers()
    assert rate > 0
    assert set(cost) == {"worker-1", "worker-2", "children", "postgres"}
    assert not any(process.is_running() for process in processes)
    with engine.connect() as tx:
        ended = text("SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'")
        rows = tx.execute(text("SELECT count(*) FROM bench_rows")).scalar_one()
        assert (rows, tx.execute(ended).scalar_one()) == (JOBS, JOBS)
