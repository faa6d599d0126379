"""An import whose parts die, are cancelled or are replayed: its status is told, and its counts are true."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.aftermath import AFTERMATHS
from app.imports import chunks as recording
from app.jobs import CATALOG, ImportChunk, ImportPlan
from app.ledger.burial import bury
from app.ledger.cancel import cancel
from app.ledger.job_error import job_error
from app.ledger.replay import DeadFilter, replay
from app.ledger.state import TRANSITIONS, Event
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.imports import (
    accepted_import,
    contacts,
    counts,
    csv_bytes,
    dispatch,
    import_row,
    small_batches,
)
from tests.support.jobs import add, assert_in_its_place, assert_lawful, children, job_facts
from tests.support.runtime import Worker
from workers.handlers import import_plan as plan_handler
from workers.handlers.import_chunk import import_chunk
from workers.runtime.context import Context
from workers.runtime.executor import Disposition
from workers.runtime.outcome import Outcome
from workers.runtime.store_watch import StoreWatch

PEOPLE = [[f"person{number}@example.com", f"Person {number}"] for number in range(6)]


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """Two people a chunk."""
    return {**environment, "MILLRACE_IMPORT_CHUNK_BYTES": "50"}


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    small_batches(monkeypatch, 70)


class Upload:
    """An import of PEOPLE, planned and published: three chunks."""

    def __init__(self, worker: Worker, engine: Engine, storage: Storage, tenant: Customer) -> None:
        self.worker, self.engine, self.tenant = worker, engine, tenant
        data = csv_bytes(["Email", "First name"], *PEOPLE)
        self.id = accepted_import(engine, storage, tenant.id, data)
        ((self.plan, _),) = dispatch(engine)

    def make_plan(self) -> None:
        self.worker.deliver(self.plan)
        self.chunks = [job_id for job_id, kind in dispatch(self.engine) if kind == "import.chunk"]
        assert len(self.chunks) == 3

    @property
    def row(self) -> dict[str, object]:
        return import_row(self.engine, self.id)

    def run(self, *jobs: UUID) -> None:
        for job_id in jobs:
            self.worker.deliver(job_id)

    def run_all(self) -> None:
        """Everything that is published, and what comes of it."""
        while published := dispatch(self.engine):
            self.run(*(job_id for job_id, kind in published if kind.startswith("import.")))

    def bury(self, *jobs: UUID) -> None:
        for job_id in jobs:
            with self.engine.begin() as tx:
                error = job_error("test", "it is broken")
                sources = TRANSITIONS[Event.BURY].sources
                assert bury(tx, AFTERMATHS, job_id, Event.BURY, error, sources=sources)

    def cancel(self, job_id: UUID) -> None:
        with self.engine.begin() as tx:
            cancel(tx, AFTERMATHS, self.tenant.id, job_id, reason="wrong file")

    def replay(self, *jobs: UUID) -> None:
        with self.engine.begin() as tx:
            chosen = DeadFilter(job_ids=list(jobs))
            done = replay(tx, CATALOG, AFTERMATHS, chosen, reason="mended")
        assert len(done.job_ids) == len(jobs)

    def interrupt(self, act: Callable[[], None]) -> None:
        """Do `act` in the middle of the next chunk: after it has looked, before it writes."""
        pending = [act]

        def handler(ctx: Context, job: ImportChunk) -> Outcome:
            class Interrupting(Storage):
                def read_range(self, key: str, start: int, end: int) -> bytes:
                    if pending:
                        pending.pop()()
                    return super().read_range(key, start, end)

            storage = Interrupting(ctx.storage._client, ctx.storage.bucket)
            ctx._store = StoreWatch(storage, storage.check)
            return import_chunk(ctx, job)

        self.worker.handle(ImportChunk, handler)  # type: ignore[arg-type]

    def assert_complete(self) -> None:
        row = self.row
        assert row["status"] == "succeeded"
        assert row["error"] is None
        assert counts(row) == (6, 6, 0, 0, 0)
        assert (row["rows_done"], row["chunks_done"]) == (6, 3)
        self.assert_true()

    def assert_true(self) -> None:
        """What the import says of itself is what is there."""
        row = self.row
        assert row["inserted"] == row["rows_done"] == len(contacts(self.engine, self.tenant.id))
        assert_in_its_place(self.engine)
        assert_lawful(self.engine)


@pytest.fixture
def upload(worker: Worker, engine: Engine, storage: Storage, tenant: Customer) -> Upload:
    made = Upload(worker, engine, storage, tenant)
    made.make_plan()
    return made


def test_a_dead_chunk_fails_the_import_and_its_replay_finishes_it(upload: Upload) -> None:
    upload.run(upload.chunks[0])
    upload.bury(upload.chunks[1])
    row = upload.row
    assert row["status"] == "failed"
    assert row["error"] == {
        "code": "test",
        "message": "Part 2 of the file could not be imported: it is broken",
    }
    upload.run(upload.chunks[2])
    assert job_facts(upload.engine, upload.chunks[2]).state == "cancelled"
    upload.assert_true()
    upload.replay(upload.chunks[1])
    assert upload.row["status"] == "running"
    upload.run_all()
    upload.assert_complete()


def test_two_dead_chunks_that_are_replayed_together_are_imported_once_each(
    upload: Upload,
) -> None:
    upload.bury(*upload.chunks[:2])
    upload.run(upload.chunks[2])
    upload.replay(*upload.chunks[:2])
    upload.run_all()
    upload.assert_complete()


def test_a_replay_that_is_faster_than_a_chunk_which_was_still_to_come(upload: Upload) -> None:
    """The chunk has two jobs then, and only one of them imports it."""
    upload.bury(upload.chunks[0])
    upload.replay(upload.chunks[0])
    upload.run(*upload.chunks[1:])
    upload.run_all()
    upload.assert_complete()


def test_a_chunk_that_was_at_work_when_the_import_failed_keeps_nothing(upload: Upload) -> None:
    upload.interrupt(lambda: upload.bury(upload.chunks[0]))
    upload.run(upload.chunks[1])
    assert upload.row["status"] == "failed"
    assert upload.row["inserted"] == 0
    upload.assert_true()
    upload.run(upload.chunks[2])
    upload.replay(upload.chunks[0])
    upload.run_all()
    upload.assert_complete()


def test_a_dead_chunk_whose_twin_was_at_work_needs_its_replay(
    upload: Upload, engine: Engine, tenant: Customer
) -> None:
    upload.run(*upload.chunks[1:])
    twin = add(engine, tenant.id, ImportChunk(import_id=upload.id, index=0))
    upload.interrupt(lambda: upload.bury(upload.chunks[0]))
    assert [job_id for job_id, kind in dispatch(engine) if kind == "import.chunk"] == [twin]
    upload.run(twin)
    assert upload.row["status"] == "failed"
    upload.replay(upload.chunks[0])
    upload.run_all()
    upload.assert_complete()


class TestWhilePlanning:
    """A chunk dies before the whole file is planned."""

    @pytest.fixture
    def half(
        self,
        worker: Worker,
        engine: Engine,
        storage: Storage,
        tenant: Customer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Upload:
        """One chunk is planned and dead, and the plan has stopped because of that."""
        upload = Upload(worker, engine, storage, tenant)
        record = recording.record
        calls: list[object] = []

        def interrupted(*args: Any, **more: Any) -> Any:
            if len(calls) == 1:
                ((chunk, _),) = dispatch(engine)
                upload.chunks = [chunk]
                upload.bury(chunk)
            calls.append(args)
            return record(*args, **more)

        with monkeypatch.context() as patch:
            patch.setattr(recording, "record", interrupted)
            worker.deliver(upload.plan)
        assert (upload.row["status"], upload.row["chunks_total"]) == ("failed", 1)
        assert job_facts(engine, upload.plan).state == "cancelled"
        return upload

    def test_its_replay_goes_on_planning_too(self, half: Upload) -> None:
        half.replay(half.chunks[0])
        half.run_all()
        half.run(half.chunks[0])
        half.run_all()
        half.assert_complete()

    def test_a_second_plan_finds_what_the_first_has_planned(
        self, half: Upload, engine: Engine, tenant: Customer
    ) -> None:
        half.replay(half.chunks[0])
        add(engine, tenant.id, ImportPlan(import_id=half.id))
        half.run_all()
        half.run_all()
        half.assert_complete()


def test_a_dead_plan_whose_chunks_are_done_goes_on_with_the_rest(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upload = Upload(worker, engine, storage, tenant)
    monkeypatch.setattr(plan_handler, "ROUND_SECONDS", -1)
    worker.deliver(upload.plan)
    monkeypatch.undo()
    small_batches(monkeypatch, 70)
    ((plan, _), (chunk, _)) = sorted(dispatch(engine), key=lambda job: job[1], reverse=True)
    assert plan == upload.plan
    upload.run(chunk)
    upload.bury(plan)
    row = upload.row
    assert (row["status"], row["inserted"]) == ("failed", 2)
    assert str(row["error"]["message"]).endswith("undo the import to take it back.")  # type: ignore[index]
    upload.replay(plan)
    upload.run_all()
    upload.assert_complete()


def test_the_death_of_a_job_whose_chunk_another_has_done_ends_nothing(
    upload: Upload, engine: Engine, tenant: Customer
) -> None:
    twin = add(engine, tenant.id, ImportChunk(import_id=upload.id, index=0))
    dispatch(engine)
    upload.run(upload.chunks[0])
    upload.bury(twin)
    assert upload.row["status"] == "running"
    upload.run(*upload.chunks[1:])
    upload.assert_complete()


def test_a_dead_plan_fails_the_import_and_its_replay_plans_it(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    upload = Upload(worker, engine, storage, tenant)
    upload.bury(upload.plan)
    assert upload.row["status"] == "failed"
    upload.replay(upload.plan)
    upload.run_all()
    upload.assert_complete()


class TestCancel:
    def test_through_its_plan(
        self, worker: Worker, engine: Engine, storage: Storage, tenant: Customer
    ) -> None:
        upload = Upload(worker, engine, storage, tenant)
        upload.cancel(upload.plan)
        row = upload.row
        assert (row["status"], row["error"]) == (
            "cancelled",
            {"code": "cancelled", "message": "wrong file"},
        )
        assert children(engine, upload.plan) == ["mail.import_finished"]
        assert worker.deliver(upload.plan) is Disposition.ACKNOWLEDGE
        assert contacts(engine, tenant.id) == {}

    def test_through_a_chunk_what_is_committed_stays_and_is_counted(
        self, upload: Upload, engine: Engine
    ) -> None:
        upload.run(upload.chunks[0])
        upload.cancel(upload.chunks[1])
        upload.run(*upload.chunks)
        row = upload.row
        assert row["status"] == "cancelled"
        assert (row["rows_done"], row["chunks_done"]) == (2, 1)
        upload.assert_true()
        with engine.connect() as tx:
            query = text("SELECT count(*) FROM jobs WHERE kind = 'mail.import_finished'")
            assert tx.execute(query).scalar_one() == 1

    def test_while_a_chunk_is_at_work(self, upload: Upload) -> None:
        upload.interrupt(lambda: upload.cancel(upload.chunks[0]))
        upload.run(upload.chunks[1])
        assert upload.row["status"] == "cancelled"
        upload.assert_true()

    def test_it_is_not_undone_by_the_death_or_replay_of_another_chunk(self, upload: Upload) -> None:
        upload.bury(upload.chunks[0])
        upload.replay(upload.chunks[0])
        upload.cancel(upload.chunks[1])
        upload.run_all()
        upload.run(*upload.chunks)
        assert upload.row["status"] == "cancelled"
        upload.assert_true()
