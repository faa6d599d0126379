"""What stands in the logs: constant events, ids, one line for each outcome, and nothing that customers sent."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from app.broker.publisher import guarded
from app.errors import BrokerAway
from app.logs import cause, configure_logging
from app.settings import Settings
from tests.support.customers import Customer
from tests.support.jobs import Note, add_queued, job_facts
from tests.support.receiver import answers, receiving
from tests.support.runtime import Worker
from tests.support.webhooks import add_endpoint, emit_plan, run_due
from workers.runtime.context import Context
from workers.runtime.outcome import Dead, Done, Outcome, PermanentError

MARK = "XQ7-do-not-log-me"
"""Stands for what customers send: it must not be in any line."""
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


class Lines:
    """What was logged since the test began, as JSON."""

    def __init__(self, captured: pytest.CaptureFixture[str]) -> None:
        self._captured = captured
        self._text = ""

    @property
    def text(self) -> str:
        self._text += self._captured.readouterr().out
        return self._text

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    def of(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.all() if line["event"] == event]


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {
        **environment,
        "MILLRACE_LOG_JSON": "true",
        "MILLRACE_LOG_LEVEL": "DEBUG",
        "MILLRACE_OUTBOUND_ALLOWED_NETWORKS": "127.0.0.0/8",
    }


@pytest.fixture
def lines(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    configure_logging(settings)
    yield Lines(capsys)
    root.handlers[:] = before
    root.setLevel(level)


def note(mark: str = MARK) -> Note:
    return Note(text=mark)


def bad_value(_ctx: Context, job: Any) -> Outcome:
    raise ValueError(f"can't use {job.text}")


def permanent(_ctx: Context, job: Any) -> Outcome:
    raise PermanentError(f"never {job.text}", code="never")


def says_dead(_ctx: Context, job: Any) -> Outcome:
    return Dead(f"no {job.text}")


def bad_sql(ctx: Context, job: Any) -> Outcome:
    with ctx.transaction() as tx:
        tx.execute(text("SELECT CAST(:value AS int)"), {"value": job.text})
    return Done()


@pytest.mark.parametrize("handler", [bad_value, permanent, says_dead, bad_sql])
def test_a_failure_is_told_without_what_it_quotes(
    handler: Any, lines: Lines, worker: Worker, engine: Engine, tenant: Customer
) -> None:
    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, note())
    worker.deliver(job_id)
    (line,) = lines.of("job.settled")
    assert line["job_id"] == str(job_id)
    assert line["tenant_id"] == str(tenant.id)
    assert (line["kind"], line["attempt"], line["worker"]) == ("test.note", 1, "test@here")
    assert line["outcome"] in {"retry", "dead"}
    assert MARK not in lines.text
    # It is where it belongs.
    assert MARK in str(job_facts(engine, job_id).error)


def test_a_line_names_the_trace_and_lines_of_others_the_job(
    lines: Lines, worker: Worker, engine: Engine, tenant: Customer
) -> None:
    def handler(_ctx: Context, _job: Any) -> Outcome:
        logging.getLogger("somebody.elses").warning("hello\nbody: %s", MARK)
        return Done()

    worker.handle(Note, handler)
    job_id = add_queued(engine, tenant.id, note())
    with engine.begin() as tx:
        tx.execute(text("UPDATE jobs SET traceparent = :given"), {"given": TRACEPARENT})
    worker.deliver(job_id)
    (settled,) = lines.of("job.settled")
    assert settled["trace_id"] == TRACE
    (other,) = lines.of("somebody.elses")
    assert (other["message"], other["job_id"]) == ("hello", str(job_id))
    structlog.get_logger("x").info("after")
    assert "job_id" not in lines.of("after")[0]


def test_exceptions_are_types_and_frames(lines: Lines) -> None:
    log = structlog.get_logger("x")
    try:
        int(MARK)
    except ValueError:
        log.exception("it.failed")
        logging.getLogger("stock").exception("stock failed")
    for line in lines.all():
        assert line["error"] == "ValueError"
        assert line["frames"][-1].endswith("test_exceptions_are_types_and_frames")
        assert {"event", "level", "logger", "timestamp"} <= set(line)
    assert MARK not in lines.text


def test_what_servers_say_is_told(engine: Engine) -> None:
    with pytest.raises(DBAPIError) as bad, engine.connect() as tx:
        tx.execute(text("SELECT CAST(:value AS int)"), {"value": MARK})
    assert "[22P02]" in cause(bad.value)
    assert MARK not in cause(bad.value)
    assert (
        cause(ConnectionRefusedError(111, "refused"))
        == "ConnectionRefusedError: [Errno 111] refused"
    )
    assert cause(BrokerAway("no route\nmore")) == "BrokerAway: no route"
    with pytest.raises(BrokerAway) as away, guarded():
        raise ConnectionRefusedError(111, "refused")
    assert cause(away.value) == "BrokerAway: ConnectionRefusedError: [Errno 111] refused"


def test_webhooks_leave_neither_secret_nor_body_nor_answer(
    lines: Lines, worker: Worker, engine: Engine, tenant: Customer
) -> None:
    with receiving() as receiver:
        receiver.usual = answers(500, MARK.encode())
        _, secret = add_endpoint(worker, tenant.id, receiver)
        emit_plan(engine, tenant.id)
        run_due(worker, engine)
    assert lines.of("job.settled")[0]["outcome"] == "retry"
    assert MARK not in lines.text
    assert secret not in lines.text


def test_requests_leave_neither_key_nor_body_nor_path(
    lines: Lines, api: httpx.Client, tenant: Customer
) -> None:
    api.post("/v1/jobs", json={"kind": MARK, "payload": {MARK: MARK}})
    api.post("/v1/jobs", content=MARK.encode())
    api.get(f"/v1/jobs/{MARK}", params={"token": MARK})
    api.get("/v1/contacts", params={"email": f"{MARK}\x00@example.com"})
    ours = [line for line in lines.all() if line["event"] != "uvicorn.access"]
    assert MARK not in json.dumps(ours)
    assert tenant.key not in lines.text
