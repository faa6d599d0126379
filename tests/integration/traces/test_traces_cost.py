"""What traces cost: nothing without an endpoint, little where nothing is recorded, no time when nobody takes them."""

import io
import json
import logging
import subprocess
import sys
import time

import httpx
import pytest
from sqlalchemy import Engine, text

from app.logs import configure_logging
from app.settings import Settings
from app.traces import spans
from tests.integration.traces.conftest import Carry
from tests.support.collector import (
    CALLER,
    MARK,
    SAMPLED,
    Collector,
    hangs,
)
from tests.support.customers import Customer
from tests.support.jobs import Note, add, job_facts
from tests.support.receiver import answers
from tests.support.runtime import Worker
from workers.runtime.outcome import Retry


def test_who_calls_us_does_not_decide_what_is_recorded(
    environment: dict[str, str],
    api: httpx.Client,
    engine: Engine,
    collector: Collector,
    tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unsampled = SAMPLED[:-1] + "0"
    api.get("/v1/jobs", headers={"traceparent": unsampled})
    assert collector.one("GET /v1/jobs").trace == CALLER
    bad = api.get("/v1/contacts", headers={"traceparent": f"00-{MARK}-x-01"})
    assert bad.status_code == 200
    assert collector.one("GET /v1/contacts").parent == ""
    # With a ratio of nothing, nothing is; the ids go on nonetheless.
    on = spans.live()
    assert on is not None
    monkeypatch.setattr(on, "_ratio", 0.0)
    answer = api.post(
        "/v1/exports",
        json={"target": "contacts", "format": "csv"},
        headers={"traceparent": SAMPLED},
    )
    assert answer.status_code == 202, answer.text
    with engine.connect() as tx:
        (kept,) = tx.execute(text("SELECT traceparent FROM jobs")).scalars()
    assert kept == unsampled
    assert {span.name for span in collector.spans(trace=CALLER) if span.kind == "server"} == {
        "GET /v1/jobs"
    }


def test_what_is_not_recorded_costs_no_span(
    carry: Carry,
    settings: Settings,
    engine: Engine,
    worker: Worker,
    collector: Collector,
    tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on = spans.live()
    assert on is not None
    monkeypatch.setattr(on, "_ratio", 0.0)
    out = io.StringIO()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "stdout", out)
    configure_logging(settings)
    worker.handle(Note, lambda _ctx, _job: Retry("again"))
    job_id = add(engine, tenant.id, Note())
    (carried,) = carry(Note)
    root.handlers[:] = before
    root.setLevel(level)
    with engine.connect() as tx:
        kept = tx.execute(text("SELECT traceparent FROM jobs")).scalar_one()
    assert kept == carried
    assert kept.endswith("-00")
    # It has an id all the same, by which its lines are found.
    (line,) = [json.loads(each) for each in out.getvalue().splitlines() if str(job_id) in each]
    assert line["trace_id"] == kept.split("-")[1]
    spans.end()
    assert collector.spans() == []


@pytest.mark.parametrize("trouble", ["hangs", "away", "refuses"])
def test_a_collector_in_trouble_costs_spans_and_no_time(
    trouble: str,
    settings: Settings,
    engine: Engine,
    worker: Worker,
    collector: Collector,
    tenant: Customer,
) -> None:
    if trouble == "away":
        collector.receiver.close()
    collector.receiver.usual = hangs if trouble == "hangs" else answers(400)
    spans.begin(settings, "test")
    on = spans.live()
    assert on is not None
    began = time.monotonic()
    with on.request(None, {}):
        for _ in range(10_000):  # five times what the queue holds
            spans.finish(spans.start("SELECT", {}))
        jobs = add(engine, tenant.id, Note())
    assert job_facts(engine, jobs).state == "scheduled"
    assert time.monotonic() - began < 8
    began = time.monotonic()
    spans.end()
    assert time.monotonic() - began < 2


def test_without_an_endpoint_nothing_of_it_is_imported(environment: dict[str, str]) -> None:
    code = """
import sys
def loaded(*names):
    return [name for name in sys.modules if name.startswith(names)]
import app.dispatcher, workers.celery_app
from app.settings import get_settings
from workers.runtime.task import runtime
runtime().engine.connect().close()
app.dispatcher.Dispatcher(get_settings())
print(loaded("opentelemetry", "google.protobuf"))
import app.main
app.main.create_app()
print(loaded("opentelemetry.sdk", "opentelemetry.exporter", "google.protobuf"))  # FastAPI has the API
"""
    off = {name: value for name, value in environment.items() if "OTLP" not in name}
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**off, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout.split() == ["[]", "[]"], answer.stdout + answer.stderr[-2000:]
