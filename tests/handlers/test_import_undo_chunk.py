"""Undo: what an import wrote is taken back, once, and what someone changed since is left alone."""

import csv
import io
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.aftermath import AFTERMATHS
from app.errors import Conflict, NotFound
from app.imports.downloads import undo_csv
from app.jobs import CATALOG
from app.ledger.burial import bury
from app.ledger.job_error import job_error
from app.ledger.replay import DeadFilter, replay
from app.ledger.state import TRANSITIONS, Event
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.imports import (
    accepted_import,
    contacts,
    csv_bytes,
    dispatch,
    import_row,
    run_imports,
    small_batches,
    undo,
)
from tests.support.jobs import assert_lawful, job_facts, lose_worker
from tests.support.runtime import Worker

HEADER = ["Email", "First name", "Plan"]
PEOPLE = [[f"user{number:03}@example.com", f"User {number}", "free"] for number in range(90)]
OLD = [[email, "Old", "paid"] for email, _, _ in PEOPLE[:30]]
WINDOW = 2


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "MILLRACE_IMPORT_CHUNK_BYTES": "300"}


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    small_batches(monkeypatch, 300)


class Done:
    """30 contacts were there, and an import has changed them and added 60."""

    def __init__(self, worker: Worker, engine: Engine, storage: Storage, tenant: Customer) -> None:
        self.worker, self.engine, self.storage, self.tenant = worker, engine, storage, tenant
        self.run(*OLD)
        self.before = self.contacts
        self.id = self.run(*PEOPLE)
        assert self.row["chunks_total"] > 2 * WINDOW

    def run(self, *rows: list[str]) -> UUID:
        data = csv_bytes(HEADER, *rows)
        import_id = accepted_import(self.engine, self.storage, self.tenant.id, data)
        run_imports(self.worker, self.engine)
        return import_id

    @property
    def row(self) -> dict[str, Any]:
        return import_row(self.engine, self.id)

    @property
    def contacts(self) -> dict[str, dict[str, object]]:
        return contacts(self.engine, self.tenant.id)

    def undo(self) -> None:
        undo(self.engine, self.tenant.id, self.id, window=WINDOW)

    def jobs(self) -> list[UUID]:
        return [job_id for job_id, kind in dispatch(self.engine) if kind == "import.undo_chunk"]

    def finish(self) -> None:
        run_imports(self.worker, self.engine)

    def change(self, sql: str) -> None:
        with self.engine.begin() as tx:
            tx.execute(text(sql))

    @property
    def told(self) -> tuple[object, ...]:
        row = self.row
        return tuple(row[f"undo_{name}"] for name in ("status", "removed", "restored", "kept"))

    def kept(self) -> list[dict[str, str]]:
        data = b"".join(undo_csv(self.engine, self.tenant.id, self.id)).decode()
        return list(csv.DictReader(io.StringIO(data)))


@pytest.fixture
def done(worker: Worker, engine: Engine, storage: Storage, tenant: Customer) -> Done:
    return Done(worker, engine, storage, tenant)


def test_everything_is_as_it_was(done: Done) -> None:
    assert len(done.contacts) == 90
    done.undo()
    assert done.told == ("running", 0, 0, 0)
    done.finish()
    assert done.contacts == done.before
    assert done.told == ("succeeded", 60, 30, 0)
    assert done.row["undo_finished_at"] is not None
    assert done.row["status"] == "succeeded"
    assert done.kept() == []
    assert_lawful(done.engine)


def test_what_someone_changed_since_is_left_alone_and_told(done: Done) -> None:
    done.change("UPDATE contacts SET company = 'ACME' WHERE email = 'user005@example.com'")
    done.change("UPDATE contacts SET company = 'ACME' WHERE email = 'user075@example.com'")
    done.change("DELETE FROM contacts WHERE email = 'user010@example.com'")
    done.undo()
    done.finish()
    assert done.told == ("succeeded", 59, 28, 3)
    found = done.contacts
    assert found["user005@example.com"]["first_name"] == "User 5"
    assert found["user075@example.com"]["company"] == "ACME"
    assert {kept["email"]: kept["reason"] for kept in done.kept()} == {
        "user005@example.com": "changed_since",
        "user010@example.com": "deleted_since",
        "user075@example.com": "changed_since",
    }


def test_never_more_than_a_few_chunks_at_once(done: Done) -> None:
    done.undo()
    jobs = done.jobs()
    assert len(jobs) == WINDOW
    while jobs:
        done.worker.deliver(jobs.pop(0))
        jobs += done.jobs()
        assert len(jobs) <= WINDOW
    assert done.contacts == done.before


def test_a_chunk_that_is_delivered_again_is_undone_once(done: Done) -> None:
    done.undo()
    first, _ = done.jobs()
    done.worker.deliver(first)
    told = done.told
    lose_worker(done.engine, first)
    done.worker.deliver(first, redelivered=True)
    assert job_facts(done.engine, first).state == "cancelled"
    assert done.told == told
    done.finish()


def bury_job(engine: Engine, job_id: UUID) -> None:
    error = job_error("test", "it is broken")
    with engine.begin() as tx:
        sources = TRANSITIONS[Event.BURY].sources
        assert bury(tx, AFTERMATHS, job_id, Event.BURY, error, sources=sources)


class TestFailure:
    @pytest.fixture
    def dead(self, done: Done) -> UUID:
        """One chunk is undone, one can't be, and the others gave up."""
        done.undo()
        first, second = done.jobs()
        done.worker.deliver(first)
        bury_job(done.engine, second)
        assert done.row["undo_status"] == "failed"
        assert done.row["undo_error"] == {
            "code": "test",
            "message": "Part 2 could not be undone: it is broken",
        }
        done.finish()
        assert done.row["undo_status"] == "failed"
        return second

    def test_asked_for_again_it_goes_on_with_the_rest(self, done: Done, dead: UUID) -> None:
        removed = done.row["undo_removed"], done.row["undo_restored"]
        assert sum(removed) > 0
        done.undo()
        done.finish()
        assert done.told == ("succeeded", 60, 30, 0)
        assert done.contacts == done.before

    def test_its_replay_goes_on_with_the_rest(self, done: Done, dead: UUID) -> None:
        with done.engine.begin() as tx:
            replay(tx, CATALOG, AFTERMATHS, DeadFilter(job_ids=[dead]), reason="mended")
        done.finish()
        assert done.told == ("succeeded", 60, 30, 0)
        assert done.contacts == done.before


class TestRefused:
    def refused(self, done: Done, why: str) -> None:
        with pytest.raises(Conflict, match=why):
            done.undo()

    def test_while_it_runs_and_after(self, done: Done) -> None:
        done.undo()
        self.refused(done, "being undone")
        done.finish()
        self.refused(done, "undone already")

    def test_an_import_that_has_not_ended(self, done: Done) -> None:
        done.change("UPDATE imports SET status = 'running'")
        self.refused(done, "not ended")

    def test_a_dry_run(self, done: Done) -> None:
        done.change("UPDATE imports SET dry_run = true")
        self.refused(done, "dry run")

    def test_one_that_ended_too_long_ago(self, done: Done) -> None:
        done.change("UPDATE imports SET finished_at = now() - interval '31 days'")
        self.refused(done, "more than 30 days")

    def test_another_tenants(self, done: Done, stranger: Customer) -> None:
        with pytest.raises(NotFound):
            undo(done.engine, stranger.id, done.id)


def test_an_import_that_wrote_nothing_is_undone_at_once(done: Done) -> None:
    done.id = done.run(["nobody", "", ""])
    done.undo()
    assert done.told == ("succeeded", 0, 0, 0)
    assert done.jobs() == []


def test_a_failed_import_that_was_undone_is_not_taken_up_again(done: Done) -> None:
    data = csv_bytes(HEADER, *([f"new{n}@example.com", "N", ""] for n in range(90)))
    done.id = accepted_import(done.engine, done.storage, done.tenant.id, data)
    ((plan, _),) = dispatch(done.engine)
    done.worker.deliver(plan)
    first, second, *_ = [job for job, kind in dispatch(done.engine) if kind == "import.chunk"]
    done.worker.deliver(first)
    bury_job(done.engine, second)
    done.undo()
    done.finish()
    assert done.row["undo_status"] == "succeeded"
    with done.engine.begin() as tx:
        replay(tx, CATALOG, AFTERMATHS, DeadFilter(job_ids=[second]), reason="mended")
    done.finish()
    assert (done.row["status"], job_facts(done.engine, second).state) == ("failed", "cancelled")
    assert not any(email.startswith("new") for email in done.contacts)
