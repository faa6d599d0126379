"""`millrace capacity` on a ledger whose history is known."""

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, QueuePool, text

from app.capacity.measured import first_since, measure
from app.connections import CHILD, DISPATCHER
from app.dispatcher import Dispatcher
from app.settings import Settings
from tests.support.commands import Run, run_process
from tests.support.customers import Customer
from tests.support.jobs import Note, add, add_queued

HISTORY = text("""
    INSERT INTO job_history (tenant_id, job_id, at, event, from_state, to_state, attempt, worker)
    SELECT tenant_id, id, now() - make_interval(secs => :ago), :event, 'x', 'x', 1, :worker
    FROM jobs WHERE id = :job_id
""")


def attempt(engine: Engine, job_id: UUID, *, ago: float, lasted: float, end: str) -> None:
    """Dispatched, claimed and ended, so long ago."""
    with engine.begin() as tx:
        line(tx, job_id, "dispatch", ago + 1)
        line(tx, job_id, "claim", ago, "default@one")
        line(tx, job_id, end, ago - lasted, "default@one")


def line(tx: Connection, job_id: UUID, event: str, ago: float, worker: str | None = None) -> None:
    """Of the job's history."""
    tx.execute(HISTORY, {"job_id": job_id, "event": event, "ago": ago, "worker": worker})


@pytest.fixture
def past(engine: Engine, tenant: Customer) -> Engine:
    """An hour with 60 attempts of 1 s and 60 of 3 s, one a half minute; and long before it, one of 900 s."""
    job_id = add(engine, tenant.id, Note())
    with engine.begin() as tx:
        tx.execute(text("TRUNCATE job_history"))
    attempt(engine, job_id, ago=90_000, lasted=900, end="succeed")
    for number in range(120):
        lasted, end = (1.0, "retry") if number % 2 else (3.0, "succeed")
        attempt(engine, job_id, ago=3585 - 30 * number, lasted=lasted, end=end)
    return engine


def test_what_the_history_says(past: Engine) -> None:
    with past.begin() as tx:
        found = measure(tx, timedelta(hours=1))
    (demand,), (kind,) = found.demands, found.kinds
    assert (demand.pool, kind.kind, kind.attempts) == ("default", "test.note", 120)
    assert demand.rate == demand.mean_rate == pytest.approx(120 / 3600)
    assert demand.durations.mean == pytest.approx(2, abs=0.02)
    assert demand.durations.scv == pytest.approx(0.25, abs=0.02)
    assert demand.durations.p95 == pytest.approx(3, abs=0.02)
    assert demand.scv_arrivals < 0.2


def test_the_history_is_found_by_halving(past: Engine) -> None:
    with past.begin() as tx:
        since = tx.execute(text("SELECT clock_timestamp() - interval '1 day'")).scalar_one()
        first = first_since(tx, since)
        lines = tx.execute(text("SELECT id FROM job_history ORDER BY id")).scalars().all()
    assert first == lines[3]


def test_an_attempt_that_goes_on_is_no_duration(engine: Engine, tenant: Customer) -> None:
    job_id = add_queued(engine, tenant.id, Note())
    with engine.begin() as tx:
        line(tx, job_id, "claim", 5)
        found = measure(tx, timedelta(hours=1))
    assert (found.demands, found.kinds) == ([], [])


@pytest.mark.parametrize(("due", "between"), [(200.0, 0.04), (0.0, 0.003)])
def test_the_time_between_two_jobs(
    engine: Engine, tenant: Customer, due: float, between: float
) -> None:
    """Of a worker's that had the next one to do; what was due only after the end before it says nothing, nor does a restart."""
    job_id = add(engine, tenant.id, Note())
    with engine.begin() as tx:
        tx.execute(
            text("UPDATE jobs SET run_at = clock_timestamp() - make_interval(secs => :ago)"),
            {"ago": due},
        )
        for number in range(25):
            began = 100.0 - number
            line(tx, job_id, "dispatch", began + 0.01)
            line(tx, job_id, "claim", began, "default@one")
            line(tx, job_id, "succeed", began - 0.96 + (0.5 if number == 7 else 0), "default@one")
        (demand,) = measure(tx, timedelta(hours=1)).demands
    assert demand.overhead == pytest.approx(between, abs=0.002)


def test_the_command_measures_and_explains(past: Engine, run: Run) -> None:
    done = run("capacity", "--period-hours", "1", "--price", "0.1")
    assert done.status == 0
    assert "default: 1 replica, 2 workers (measured)" in done.out
    assert "test.note: 120 attempts, mean 2 s" in done.out
    facts = run("capacity", "--period-hours", "1", "--json").json
    assert facts["pools"][0]["rate"] == pytest.approx(120 / 3600)
    assert facts["connections"]["postgres_max"] == 100
    assert [one["stable"] for one in facts["pools"][0]["what_if"]] == [True, True, False]


def test_a_queue_whose_jobs_nobody_does_is_said(engine: Engine, tenant: Customer, run: Run) -> None:
    job_id = add_queued(engine, tenant.id, Note())
    with engine.begin() as tx:
        line(tx, job_id, "dispatch", 5)
    done = run("capacity", "--max-connections", "400")
    assert done.status == 1
    assert "default: NO PLAN." in done.out


def test_behind_a_pooler_its_connections_count(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_DATABASE_DIRECT_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("MILLRACE_POOLER_CONNECTIONS", "70")
    monkeypatch.setenv("MILLRACE_PROCESSES", "web=5 dispatcher=2 default=20x2")
    done = run("capacity", "--rate", 10, "--mean", 2, "--json")
    assert done.status == 0
    assert done.json["connections"]["postgres_server"] == 70 + 5 + 2


def test_options_without_effect_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "load.toml"
    file.write_text("[pools.low]\narrival_rate = 10\nmean_seconds = 2\n")
    for words, says in (
        (["--file", file, "--rate", 5], "--rate: the loads are in"),
        (["--mean", 5, "--pool", "low"], "--mean, --pool: of a load that is given; add --rate"),
    ):
        failed = run_process({}, "capacity", *words)
        assert (failed.status, failed.out) == (1, "")
        assert says in failed.err


def test_a_ledger_without_jobs_says_what_to_do(run: Run) -> None:
    failed = run("capacity")
    assert (failed.status, failed.out) == (1, "")
    assert "--rate" in failed.err


def test_a_given_load_needs_no_database(tmp_path: Path) -> None:
    file = tmp_path / "load.toml"
    file.write_text(
        "[pools.low]\narrival_rate = 10\nmean_seconds = 2\n[terms]\nutilisation = 0.7\n"
    )
    facts = run_process({}, "capacity", "--file", file, "--max-connections", 400, "--json").json
    assert facts["pools"][0]["workers"] == 36
    few = run_process({}, "capacity", "--file", file)
    assert few.status == 1
    assert "TOO FEW" in few.out


def test_the_table_is_what_the_processes_open(settings: Settings, run: Run) -> None:
    from workers.runtime.task import runtime

    assert run("capacity", "--rate", 1, "--mean", 1).status == 0  # the environment is this test's
    dispatcher = Dispatcher(settings)
    pool = dispatcher._engine.pool
    assert isinstance(pool, QueuePool)
    # Beside the chores: the dispatching, who reads the metrics, and who asks whether it is ready.
    assert pool.size() == len(dispatcher._chores._threads) + 3 == DISPATCHER.pool
    runtime.cache_clear()
    child = runtime().engine.pool
    runtime.cache_clear()
    assert isinstance(child, QueuePool)
    assert (child.size(), child._max_overflow) == (CHILD.pool, CHILD.overflow)
    assert CHILD.postgres == CHILD.pool + CHILD.overflow + CHILD.copies == 4
