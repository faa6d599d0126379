"""With a scanner, no import reads a file that isn't clean: however it came, and whatever happens meanwhile."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine

from app.imports.files import object_key
from app.scanning import gate
from app.settings import Settings
from app.storage import Storage
from tests.support.clamd import BYTES, VIRUS, ClamdServer
from tests.support.customers import Customer
from tests.support.imports import accepted_import, contacts, dispatch, import_row, run_imports
from tests.support.jobs import count, job_facts, requeue
from tests.support.problems import assert_nothing_left, assert_problem
from tests.support.runtime import Worker
from workers.handlers import import_plan as handler
from workers.runtime.executor import Disposition

CLEAN = b"email,name\na@example.com,Ada\n"
INFECTED = CLEAN + b"b@example.com," + BYTES + b"\n"
NOBODY = "tcp://127.0.0.1:1"


@pytest.fixture
def environment(environment: dict[str, str], clamd: ClamdServer) -> dict[str, str]:
    return {**environment, "MILLRACE_CLAMD_URL": clamd.url, "MILLRACE_CLAMD_TIMEOUT": "20"}


@contextmanager
def scanner_away(worker: Worker) -> Iterator[None]:
    gone = worker.runtime.settings.model_copy(update={"clamd_url": NOBODY})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "runtime", replace(worker.runtime, settings=gone))
        yield


def test_a_clean_file_is_imported(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    import_id = accepted_import(engine, storage, tenant.id, CLEAN)
    run_imports(worker, engine)
    assert import_row(engine, import_id)["status"] == "succeeded"
    assert set(contacts(engine, tenant.id)) == {"a@example.com"}


def test_of_an_infected_file_nothing_is_imported_and_nothing_is_kept(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    import_id = accepted_import(engine, storage, tenant.id, INFECTED)
    ((job_id, _),) = dispatch(engine)
    assert worker.deliver(job_id) is Disposition.DEAD_LETTER
    row = import_row(engine, import_id)
    assert (row["status"], row["error"]["code"]) == ("failed", "infected")
    assert VIRUS in row["error"]["message"]
    assert row["error"]["message"].endswith("Nothing was imported.")
    assert contacts(engine, tenant.id) == {}
    assert count(engine, "import_chunks") == 0
    assert storage.keys() == []


def test_the_verdict_outlives_the_worker_and_the_file(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import_id = accepted_import(engine, storage, tenant.id, INFECTED)
    ((job_id, _),) = dispatch(engine)

    def die(_signature: str) -> Exception:
        raise RuntimeError("the worker is gone")

    with monkeypatch.context() as patch:
        patch.setattr(gate, "infected", die)
        worker.deliver(job_id)
    assert storage.keys() == []
    assert job_facts(engine, job_id).state == "scheduled"
    requeue(engine, job_id)
    assert worker.deliver(job_id) is Disposition.DEAD_LETTER
    assert import_row(engine, import_id)["error"]["code"] == "infected"


def test_while_the_scanner_is_away_the_import_waits_at_no_attempts_cost(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    import_id = accepted_import(engine, storage, tenant.id, CLEAN)
    ((job_id, _),) = dispatch(engine)
    with scanner_away(worker):
        for _ in range(7):
            assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
            assert job_facts(engine, job_id).state == "scheduled"
            requeue(engine, job_id)
    assert import_row(engine, import_id)["chunks_total"] is None
    assert contacts(engine, tenant.id) == {}
    worker.deliver(job_id)
    run_imports(worker, engine)
    assert import_row(engine, import_id)["status"] == "succeeded"


def test_what_was_scanned_is_not_scanned_again_after_a_crash(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def die(*_: object) -> None:
        raise RuntimeError("the worker is gone")

    accepted_import(engine, storage, tenant.id, CLEAN)
    ((job_id, _),) = dispatch(engine)
    with monkeypatch.context() as patch:
        patch.setattr(handler, "_plan", die)
        worker.deliver(job_id)
    requeue(engine, job_id)
    with scanner_away(worker):
        worker.deliver(job_id)
    assert job_facts(engine, job_id).state == "succeeded"


@pytest.mark.parametrize("form", [False, True])
def test_however_it_is_posted(
    api: httpx.Client, worker: Worker, engine: Engine, storage: Storage, form: bool
) -> None:
    if form:
        answer = api.post("/v1/imports", files={"file": ("p.csv", INFECTED, "text/csv")})
    else:
        answer = api.post("/v1/imports", content=INFECTED, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 202
    run_imports(worker, engine)
    shown = api.get(answer.headers["location"]).json()
    assert (shown["status"], shown["error"]["code"]) == ("failed", "infected")
    assert storage.keys() == []


def test_a_file_that_went_past_the_api(
    api: httpx.Client, worker: Worker, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    announced = {
        "filename": "people.csv",
        "size": len(INFECTED),
        "sha256": hashlib.sha256(INFECTED).hexdigest(),
    }
    upload = api.post("/v1/uploads", json=announced).json()
    httpx.put(upload["parts"][0]["url"], content=INFECTED, trust_env=False).raise_for_status()
    done = api.post(f"/v1/uploads/{upload['id']}/complete")
    assert done.status_code == 202, done.text
    run_imports(worker, engine)
    assert import_row(engine, UUID(done.json()["id"]))["error"]["code"] == "infected"
    assert storage.keys(object_key(tenant.id, UUID(upload["id"]))) == []


def test_a_preview_shows_nothing_of_an_infected_file(
    api: httpx.Client, engine: Engine, storage: Storage
) -> None:
    headers = {"Content-Type": "text/csv"}
    assert api.post("/v1/imports/preview", content=CLEAN, headers=headers).status_code == 200
    answer = api.post("/v1/imports/preview", content=INFECTED, headers=headers)
    assert_problem(answer, 422, "infected")
    assert_nothing_left(engine, storage)


class TestAway:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"clamd_url": NOBODY})

    def test_then_there_is_no_preview(self, api: httpx.Client) -> None:
        headers = {"Content-Type": "text/csv"}
        answer = api.post("/v1/imports/preview", content=CLEAN, headers=headers)
        assert_problem(answer, 503, "scanner_away")
        assert answer.headers["retry-after"]

    def test_an_upload_is_taken_all_the_same(self, api: httpx.Client) -> None:
        headers = {"Content-Type": "text/csv"}
        assert api.post("/v1/imports", content=CLEAN, headers=headers).status_code == 202
