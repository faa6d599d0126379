"""A clean file goes on, an infected one is deleted, and without a verdict everything waits."""

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from app.files.making import make_variants
from app.storage import Storage
from tests.support.clamd import BYTES, FILE_MAX_BYTES, ClamdServer
from tests.support.customers import Customer
from tests.support.files import accepted_file, file_row, run_files
from tests.support.imports import dispatch
from tests.support.jobs import job_facts, requeue
from tests.support.pictures import encoded, halves
from tests.support.runtime import Worker
from workers.handlers import file_scan as handler

PICTURE = encoded(halves(), "PNG")
INFECTED = PICTURE + BYTES
MADE = make_variants


@pytest.fixture
def environment(environment: dict[str, str], clamd: ClamdServer) -> dict[str, str]:
    return {**environment, "MILLRACE_CLAMD_URL": clamd.url, "MILLRACE_CLAMD_TIMEOUT": "20"}


def test_a_clean_file_goes_on(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    file_id = accepted_file(engine, storage, tenant.id, PICTURE, scan=True)
    assert file_row(engine, tenant.id, file_id).state == "scanning"
    assert run_files(worker, engine) == ["file.scan", "file.make_variants"]
    file = file_row(engine, tenant.id, file_id)
    assert (file.state, {each.state for each in file.variants}) == ("clean", {"done"})


def test_an_infected_one_is_deleted_and_nothing_is_made_of_it(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    file_id = accepted_file(engine, storage, tenant.id, INFECTED, scan=True)
    assert run_files(worker, engine) == ["file.scan"]
    file = file_row(engine, tenant.id, file_id)
    assert (file.state, file.error and file.error["code"]) == ("infected", "infected")
    assert {each.state for each in file.variants} == {"failed"}
    assert storage.keys() == []


def test_a_worker_that_dies_behind_the_verdict_is_followed_by_one_that_deletes(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file_id = accepted_file(engine, storage, tenant.id, INFECTED, scan=True)
    ((job_id, _),) = dispatch(engine)

    def die(*_: object) -> None:
        raise RuntimeError("the worker is gone")

    with monkeypatch.context() as patch:
        patch.setattr(handler, "_remove", die)
        worker.deliver(job_id)
    assert file_row(engine, tenant.id, file_id).state == "infected"
    requeue(engine, job_id)
    worker.deliver(job_id)
    assert storage.keys() == []
    assert job_facts(engine, job_id).state == "succeeded"


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:1", None])
def test_without_a_scanner_it_waits_for_one(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, url: str | None
) -> None:
    file_id = accepted_file(engine, storage, tenant.id, PICTURE, scan=True)
    ((job_id, _),) = dispatch(engine)
    there = worker.runtime
    worker.runtime = replace(there, settings=there.settings.model_copy(update={"clamd_url": url}))
    for _ in range(7):
        worker.deliver(job_id)
        assert job_facts(engine, job_id).state == "scheduled"
        requeue(engine, job_id)
    assert file_row(engine, tenant.id, file_id).state == "scanning"
    worker.runtime = there
    worker.deliver(job_id)
    assert file_row(engine, tenant.id, file_id).state == "clean"


def test_one_that_it_will_not_look_at_fails(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    data = b"text " * (FILE_MAX_BYTES // 5 + 1000)
    file_id = accepted_file(engine, storage, tenant.id, data, scan=True)
    assert run_files(worker, engine) == ["file.scan"]
    file = file_row(engine, tenant.id, file_id)
    assert (file.state, file.error and file.error["code"]) == ("failed", "too_large_to_scan")


def test_what_came_before_there_was_a_scanner_is_scanned_before_it_is_read(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    file_id = accepted_file(engine, storage, tenant.id, INFECTED, scan=False)
    assert run_files(worker, engine) == ["file.make_variants", "file.scan"]
    assert file_row(engine, tenant.id, file_id).state == "infected"
