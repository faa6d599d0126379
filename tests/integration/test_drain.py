"""A worker that is told to stop finishes what it runs, or hands it back when its time is up."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from infra.local.client import Client
from infra.local.sample import sample_csv
from infra.local.system import LocalSystem
from infra.local.tenant import make_tenant
from infra.local.waiting import until
from tests.support.servers import started

ROWS = 500
DRAIN_SECONDS = 2
PROGRAMS = (
    *("postgres", "epmd", "rabbitmq", "s3", "smtp"),
    *("web", "dispatcher", "worker-default"),
)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    drain = {"MILLRACE_WORKER_DRAIN_SECONDS": str(DRAIN_SECONDS)}
    made = LocalSystem(tmp_path_factory.mktemp("drain"), programs=PROGRAMS, environment=drain)
    with started(made):
        yield made


def test_a_job_that_does_not_end_in_time_is_handed_back_and_done_by_the_next(
    system: LocalSystem,
) -> None:
    name = f"drain-{uuid4().hex[:8]}"
    tenant = make_tenant(system, name, email=f"{name}@example.com")
    with Client(system.web_url, tenant.api_key) as client:
        with psycopg.connect(system.postgres.url()) as blocker:
            blocker.execute("LOCK TABLE contacts IN EXCLUSIVE MODE")
            import_id = client.upload("contacts.csv", sample_csv(ROWS))["id"]
            assert until(lambda: _state_of_chunk(system) == "running", seconds=30)

            system.stop_program("worker-default")

            assert "worker.drain_over" in system.log_tail("worker-default", lines=200)
            assert system.exit_status("worker-default") == 0
            assert _state_of_chunk(system) == "running"
        system.start_program("worker-default")
        states = client.progress(import_id, seconds=60)
        *_, ended = states
    assert ended["status"] == "succeeded"
    assert ended["counts"]["total"] == ROWS
    assert _attempts_of_chunk(system) == 2


def _state_of_chunk(system: LocalSystem) -> str | None:
    with psycopg.connect(system.postgres.url()) as database:
        row = database.execute("SELECT state FROM jobs WHERE kind = 'import.chunk'").fetchone()
    return None if row is None else str(row[0])


def _attempts_of_chunk(system: LocalSystem) -> int:
    with psycopg.connect(system.postgres.url()) as database:
        row = database.execute("SELECT attempt FROM jobs WHERE kind = 'import.chunk'").fetchone()
    assert row is not None
    return int(row[0])
