"""Traces: one from a request to its last child job, links where time passes, and no secret in any span."""

import json
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from app.jobs import WelcomeMail
from app.ledger.contract import catalog
from app.ledger.replay import DeadFilter, replay
from app.settings import Settings
from app.traces import live as living
from tests.integration.traces.conftest import Carry
from tests.support.collector import (
    CALLER,
    MARK,
    SAMPLED,
    Collector,
    hangs,
)
from tests.support.customers import Customer
from tests.support.jobs import Note, SmallNote, add, job_facts, requeue
from tests.support.processes import Processes
from tests.support.receiver import answers, receiving
from tests.support.runtime import Worker
from tests.support.servers import wait_for
from tests.support.webhooks import add_endpoint, deliveries, emit_plan
from workers.runtime.context import Context
from workers.runtime.outcome import Dead, Done, Outcome


def no_secrets(collector: Collector, settings: Settings, *more: str) -> None:
    secrets = [
        settings.database_url.get_secret_value().split("@")[0].rsplit(":")[-1],
        settings.s3_secret_access_key.get_secret_value() if settings.s3_secret_access_key else "",
        settings.broker_url.get_secret_value().split("@")[0].rsplit(":")[-1],
        *("X-Amz-Signature", "X-Amz-Credential", "postgresql://", MARK),
        *more,
    ]
    sent = collector.raw
    assert [secret for secret in secrets if secret and secret.encode() in sent] == []


@pytest.mark.long
def test_an_import_is_one_trace_through_every_process(
    processes: Processes,
    api: httpx.Client,
    collector: Collector,
    settings: Settings,
    tenant: Customer,
) -> None:
    started = [processes.dispatcher(), processes.worker("default")]
    data = f"email,company\nann@{MARK}.example,{MARK}\nno address,{MARK}\n"
    answer = api.post(
        "/v1/imports",
        files={"file": (f"{MARK}.csv", data, "text/csv")},
        headers={"traceparent": SAMPLED, "x-secret": MARK},
    )
    import_id = answer.json()["id"]

    request = collector.one("POST /v1/imports")
    assert (request.trace, request.parent, request.kind) == (
        CALLER,
        SAMPLED.split("-")[2],
        "server",
    )
    assert request.facts["http.response.status_code"] == 202
    assert request.facts["millrace.tenant.id"] == str(tenant.id)
    accepted = collector.one("enqueue import.plan", trace=CALLER)
    sent = collector.one("dispatch import.plan", trace=CALLER)
    plan = collector.one("run import.plan", trace=CALLER)
    assert accepted.service == request.service == "millrace-web"
    assert (sent.parent, sent.kind, sent.service) == (
        accepted.id,
        "producer",
        "millrace-dispatcher",
    )
    assert (plan.parent, plan.kind, plan.service) == (sent.id, "consumer", "millrace-worker")
    assert plan.facts["millrace.job.outcome"] == "done"
    assert not plan.links
    # The child, and what follows when that has ended.
    begun = collector.one("enqueue import.chunk", trace=CALLER)
    assert begun.parent == plan.id
    chunk = collector.one("run import.chunk", trace=CALLER)
    assert collector.one("dispatch import.chunk", trace=CALLER).parent == begun.id
    assert (
        collector.one("dispatch mail.import_finished", trace=CALLER).facts[
            "messaging.destination.name"
        ]
        == "high"
    )
    below = {span.name for span in collector.spans(trace=CALLER) if span.parent == chunk.id}
    assert {"claim", "COMMIT"} < below
    assert any(name.startswith("S3 ") for name in below)
    assert any("contacts" in name for name in below)
    assert any("UPDATE jobs" in name for name in below)
    assert [s for s in collector.spans("S3 PutObject") if s.parent == request.id]

    # The API and the logs name the trace.
    job_id = plan.facts["millrace.job.id"]
    assert api.get(f"/v1/jobs/{job_id}").json()["trace_id"] == CALLER
    lines = [
        json.loads(line) for line in processes.log("worker-default").splitlines() if line[:1] == "{"
    ]
    (settled,) = [
        line for line in lines if line.get("job_id") == job_id and line["event"] == "job.settled"
    ]
    assert (settled["trace_id"], settled["attempt"]) == (CALLER, 1)
    # A link to a file is signed: no span quotes it.
    link = api.get(f"/v1/imports/{import_id}/rejected.csv")
    assert link.status_code in {200, 302, 307}
    api.get("/healthz")
    collector.one("GET /v1/imports/{import_id}/rejected.csv")
    assert not collector.spans("GET /healthz")
    no_secrets(collector, settings, tenant.key, "ann@", import_id)

    # A collector that doesn't answer any more keeps nothing from working, and nobody from ending.
    collector.receiver.usual = hangs
    more = api.post(
        "/v1/imports", files={"file": ("more.csv", "email\nbob@x.example\n", "text/csv")}
    )
    path = f"/v1/imports/{more.json()['id']}"
    wait_for(lambda: api.get(path).json()["status"] == "succeeded", what="the second import")
    for process in started:
        process.terminate()
    assert [process.wait(20) for process in started] == [0, 0]


def test_retries_and_replays_are_traces_of_their_own_with_a_link(
    carry: Carry,
    settings: Settings,
    engine: Engine,
    worker: Worker,
    collector: Collector,
    tenant: Customer,
) -> None:
    def handler(ctx: Context, _job: Any) -> Outcome:
        if ctx.job.attempt == 1:
            raise ValueError(MARK)
        return Dead(MARK, "gave_up") if ctx.job.attempt == 2 else Done(then=[SmallNote()])

    worker.handle(Note, handler)
    job_id = add(engine, tenant.id, Note())
    carry(Note)
    with engine.begin() as tx:
        tx.execute(text("UPDATE outbox SET run_at = clock_timestamp()"))
    carry(Note)
    with engine.begin() as tx:
        replay(tx, catalog((Note,)), {}, DeadFilter(job_ids=[job_id]), reason=MARK)
    carry(Note)
    assert job_facts(engine, job_id).state == "succeeded"

    origin = collector.one("enqueue test.note")
    first, second, third = collector.several(3, "run test.note")
    sends = collector.several(3, "dispatch test.note")
    assert first.trace == origin.trace
    assert len({first.trace, second.trace, third.trace}) == 3
    for run, sent in zip((second, third), sends[1:], strict=True):
        assert run.parent == sent.id
        assert sent.links == run.links == {origin.place}
    outcomes = [span.facts["millrace.job.outcome"] for span in (first, second, third)]
    assert outcomes == ["retry", "dead", "done"]
    assert [span.facts.get("error.type") for span in (first, second, third)] == [
        "ValueError",
        "gave_up",
        None,
    ]
    assert (first.failed, third.failed) == (True, False)
    # What the replay began is a part of the replay's trace.
    assert collector.one("enqueue test.small").parent == third.id
    no_secrets(collector, settings)


def test_jobs_that_travel_together_are_linked(
    carry: Carry,
    engine: Engine,
    worker: Worker,
    collector: Collector,
    tenant: Customer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker.handle(SmallNote, lambda _ctx, _job: Done())
    for _ in range(2):
        add(engine, tenant.id, SmallNote())
    (carried,) = carry(SmallNote)
    one, other = collector.several(2, "enqueue test.small")
    sent = collector.one("dispatch test.small")
    assert carried is not None
    assert carried.startswith(f"00-{sent.trace}-{sent.id}-")
    assert (sent.parent, sent.links) == (one.id, {other.place})
    mine, theirs = collector.several(2, "run test.small")
    assert (mine.trace, mine.parent, mine.links) == (one.trace, sent.id, set())
    assert (theirs.trace, theirs.parent, theirs.links) == (other.trace, other.id, {sent.place})
    # One that waited for long is a trace of its own.
    monkeypatch.setattr(living, "LINK_AFTER_SECONDS", -1.0)
    add(engine, tenant.id, SmallNote())
    carry(SmallNote)
    origin = collector.several(3, "enqueue test.small")[-1]
    late = collector.several(3, "run test.small")[-1]
    assert late.trace != origin.trace
    assert late.links == {origin.place}


def test_a_mail_is_a_span_without_an_address(
    carry: Carry,
    settings: Settings,
    engine: Engine,
    collector: Collector,
    tenant: Customer,
) -> None:
    add(engine, tenant.id, WelcomeMail())
    carry(WelcomeMail)
    run = collector.one("run mail.welcome")
    assert run.facts["millrace.job.outcome"] == "done"
    sent = collector.one("SMTP")
    assert (sent.parent, sent.facts) == (run.id, {"server.address": settings.smtp_host})
    no_secrets(collector, settings, tenant.email)


def test_a_webhook_is_told_the_trace_and_the_trace_nothing_of_the_webhook(
    traced: None,
    settings: Settings,
    engine: Engine,
    worker: Worker,
    collector: Collector,
    tenant: Customer,
) -> None:
    with receiving() as hook:
        hook.usual = answers(503, MARK.encode())
        _, secret = add_endpoint(worker, tenant.id, hook)
        with engine.begin() as tx:
            tx.execute(text("UPDATE webhook_endpoints SET url = url || :q"), {"q": f"?key={MARK}"})
        emit_plan(engine, tenant.id)
        job_id = deliveries(engine)[-1].job_id
        requeue(engine, job_id)
        worker.deliver(job_id)
    run = collector.one("run webhook.deliver")
    called = collector.one("POST", trace=run.trace)
    assert (called.parent, called.kind) == (run.id, "client")
    assert called.facts == {
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "server.port": hook.port,
        "url.scheme": "http",
        "http.response.status_code": 503,
    }
    told = hook.got[0].headers["traceparent"]
    assert told.startswith(f"00-{called.trace}-{called.id}-")
    no_secrets(collector, settings, secret)
