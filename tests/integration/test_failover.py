"""Where the database's name leads to a server that isn't the primary (yet), it is away, and nothing is at fault."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from app.db import reach_once
from app.errors import ReadOnly
from app.ledger.contract import JobContract
from app.settings import Settings
from tests.support.commands import Run
from tests.support.customers import Customer
from tests.support.jobs import Note, SmallNote, add_queued, events, job_facts
from tests.support.runtime import Worker
from tests.support.servers import Servers
from tests.support.web import Web
from workers.runtime import executor
from workers.runtime.attempt import Delivery
from workers.runtime.executor import Disposition, execute
from workers.runtime.outcome import Done


@contextmanager
def read_only(servers: Servers, database: str) -> Iterator[None]:
    """Reads work, and every write is refused as by a standby."""
    servers.make_read_only(database, wanted=True)
    try:
        yield
    finally:
        servers.make_read_only(database, wanted=False)


def test_the_api_says_that_it_is_away(servers: Servers, database: str, api: httpx.Client) -> None:
    job = {"kind": "report.daily", "payload": {"day": "2026-11-01"}}
    assert api.post("/v1/jobs", json=job).status_code == 202
    with read_only(servers, database):
        for _ in range(5):  # the first ones only see that their connection was ended
            refused = api.post("/v1/jobs", json=job)
            assert refused.status_code == 503
            assert refused.json()["type"] == "urn:millrace:problem:unavailable"
            assert refused.headers["Retry-After"]
    assert api.post("/v1/jobs", json=job).status_code == 202


def test_whoever_asks_is_told_in_words(
    servers: Servers, database: str, web: Web, settings: Settings, run: Run
) -> None:
    with web.client(None) as anyone, read_only(servers, database):
        not_ready = anyone.get("/readyz")
        assert not_ready.status_code == 503
        assert not_ready.json()["checks"]["database"].startswith("read-only: ")
        assert anyone.get("/livez").status_code == 200
        with pytest.raises(ReadOnly):
            reach_once(settings)  # the workers' question
        said = run("doctor")
        assert said.status == 1
        assert "it takes no writes" in said.out
    with web.client(None) as anyone:
        assert anyone.get("/readyz").json()["checks"]["database"] == "ok"


@pytest.mark.parametrize("contract", [Note, SmallNote])
def test_a_worker_waits_for_the_primary_and_does_not_give_the_message_back(
    servers: Servers,
    database: str,
    engine: Engine,
    tenant: Customer,
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
    contract: type[JobContract],
) -> None:
    worker.handle(contract, lambda _ctx, _job: Done())
    job_id = add_queued(engine, tenant.id, contract())
    kind = contract.spec.kind
    delivery = Delivery(job_id=job_id, kind=kind, attempt=0, worker="test@here", redelivered=False)
    said: list[Disposition] = []
    refused, claim = threading.Event(), executor._claim

    def watched(*facts: Any, **more: Any) -> Any:
        try:
            return claim(*facts, **more)
        except OperationalError as error:
            if "read-only" in str(error):
                refused.set()
            raise

    monkeypatch.setattr(executor, "_claim", watched)
    with read_only(servers, database):
        running = threading.Thread(target=lambda: said.append(execute(worker.runtime, delivery)))
        running.start()
        assert refused.wait(20)
        assert said == []
    running.join(20)
    assert said == [Disposition.ACKNOWLEDGE]
    assert job_facts(engine, job_id).state == "succeeded"
    assert events(engine, job_id).count("claim") == 1
