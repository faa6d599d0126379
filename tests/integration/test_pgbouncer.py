"""Everything through a real PgBouncer in transaction mode: each transaction on another session."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest
from sqlalchemy import Engine

from app.db import SESSION_SETTINGS, make_engine
from app.settings import Settings
from tests.support.commands import Run
from tests.support.customers import Customer
from tests.support.imports import csv_bytes
from tests.support.jobs import assert_lawful, count
from tests.support.pgbouncer import POOL_SIZE, PgBouncer
from tests.support.processes import Processes
from tests.support.servers import Servers, started, wait_for

ROWS = 2_000


@pytest.fixture(scope="module")
def pgbouncer(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PgBouncer]:
    made = PgBouncer(tmp_path_factory.mktemp("pgbouncer"), servers.system.postgres)
    with started(made):
        yield made


@pytest.fixture
def environment(environment: dict[str, str], database: str, pgbouncer: PgBouncer) -> dict[str, str]:
    more = {"MILLRACE_IMPORT_CHUNK_BYTES": "20000", "MILLRACE_DB_POOL_SIZE": "20"}
    return pgbouncer.in_front({**environment, **more}, database)


def ended(api: httpx.Client, location: str) -> dict[str, object]:
    running = {"queued", "running"}
    wait_for(lambda: api.get(location).json()["status"] not in running, seconds=60, what=location)
    found: dict[str, object] = api.get(location).json()
    return found


def backends(servers: Servers, database: str, application: str) -> int:
    with psycopg.connect(servers.system.postgres.superuser_url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name LIKE %s",
            [database, application],
        ).fetchone()
    return 0 if row is None else int(row[0])


def test_imports_exports_and_small_jobs_run_through_it(
    run: Run,
    processes: Processes,
    api: httpx.Client,
    engine: Engine,
    servers: Servers,
    database: str,
    tenant: Customer,
) -> None:
    assert run("migrate").status == 0
    processes.dispatcher()
    processes.worker("default", "high", "low", concurrency=3)
    # Many requests at once: each statement that was prepared would meet a session that doesn't know it.
    rows = [[f"user{number}@example.com", f"Name {number}"] for number in range(ROWS)]
    data = csv_bytes(["email", "first_name"], *rows)

    def post(_: int) -> str:
        answer = api.post("/v1/imports", files={"file": ("people.csv", data, "text/csv")})
        assert answer.status_code == 202, answer.text
        return str(answer.headers["location"])

    with ThreadPoolExecutor(4) as pool:
        places = list(pool.map(post, range(4)))
    found = [ended(api, place) for place in places]
    assert [each["status"] for each in found] == ["succeeded"] * 4, found
    assert count(engine, "contacts") == ROWS
    for made in ("csv", "parquet"):
        answer = api.post("/v1/exports", json={"target": "contacts", "format": made})
        export = ended(api, answer.headers["location"])
        assert (export["status"], export["rows"]) == ("succeeded", ROWS), export
    with api.stream("GET", f"{places[0]}/events") as stream:
        assert any("succeeded" in line for line in stream.iter_lines())
    wait_for(lambda: count(engine, "mails") >= 4, what="the mails")
    assert_lawful(engine)
    # What wakes the dispatcher goes past it, and all the rest through it.
    assert backends(servers, database, "millrace-dispatcher") >= 1
    assert backends(servers, database, "%") <= POOL_SIZE + 3
    assert "prepared statement" not in processes.log("dispatcher") + processes.log("worker-default")


def test_the_role_has_what_sessions_had(run: Run, settings: Settings, engine: Engine) -> None:
    """And the doctor says so when it hasn't."""
    names = {check["check"]: check for check in _checks(run)}
    assert names["pooler.session"]["status"] == "failed"
    assert run("migrate").status == 0
    fresh = make_engine(settings, pool_size=1, application_name="test")
    with psycopg.connect(settings.direct_url) as connection:
        shown = [connection.execute(f"SHOW {name}").fetchone() for name in SESSION_SETTINGS]
    fresh.dispose()
    assert shown == [(value,) for value in SESSION_SETTINGS.values()]


def test_migrations_go_past_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Kubernetes the first of them runs before there is a pooler, and may not reach it later either."""
    nobody = "postgresql://millrace:secret@127.0.0.1:1/millrace"
    monkeypatch.setenv("MILLRACE_DATABASE_URL", nobody)
    assert run("migrate").status == 0


def test_a_pooler_without_a_direct_url_is_named(
    run: Run, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MILLRACE_DATABASE_DIRECT_URL")
    (direct,) = [check for check in _checks(run) if check["check"] == "postgresql.direct"]
    assert direct["status"] == "failed"
    assert "MILLRACE_DATABASE_DIRECT_URL" in direct["change"]


def _checks(run: Run) -> list[dict[str, str]]:
    import json

    checks: list[dict[str, str]] = json.loads(run("doctor", "--json").out)["checks"]
    return checks
