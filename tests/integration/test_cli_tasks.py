"""`millrace tasks send` and the replay of what is no job: plain tasks, from an operator's shell."""

import json
from uuid import UUID

import pytest
from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_settings import SettingsError
from sqlalchemy import Engine

from app.ids import new_id
from app.ledger.burial import Wire, bury_stray
from app.ledger.job_error import job_error
from tests.support.commands import Run
from tests.support.customers import Customer
from tests.support.deaths import dead, rewrite
from tests.support.jobs import Note, job_facts
from tests.support.queues import Queues, arguments_of, headers_of


def test_a_task_is_sent_and_its_id_told(run: Run, queues: Queues) -> None:
    words = '{"word": "hello"}'
    told = run("tasks", "send", "tasks.probe", "--kwargs", words, "--queue", "low", "--json").json
    (message,) = queues.take_all("low")
    assert headers_of(message)["task"] == "tasks.probe"
    assert (headers_of(message)["id"], arguments_of(message)) == (told["id"], {"word": "hello"})
    assert UUID(run("tasks", "send", "tasks.probe").out.strip())
    assert len(queues.take_all("default")) == 1


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("import.plan",), 1, "'import.plan' is no plain task"),
        (("tasks.probe", "--kwargs", "[1]"), 1, "is no JSON object. Use one like"),
        (("tasks.probe", "--kwargs", "{"), 1, "is no JSON object. Use one like"),
        (("tasks.probe", "--queue", "middle"), 2, "'middle' is not one of"),
        ((), 2, "Missing argument"),
    ],
)
def test_what_can_not_be_sent_is_one_line(
    run: Run, queues: Queues, words: tuple[str, ...], status: int, says: str
) -> None:
    failed = run("tasks", "send", *words, "--json")
    assert (failed.status, failed.out) == (status, "")
    assert says in failed.err
    assert "Traceback" not in failed.err
    if status == 1:
        assert failed.err.startswith("millrace: ")
        assert failed.err.count("\n") == 1
    assert queues.take_all() == []


def test_a_broker_that_is_away_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_BROKER_URL", "amqp://user:secret-word@127.0.0.1:1/none")
    for words in (("tasks", "send", "tasks.probe"), ("topology", "declare")):
        failed = run(*words)
        assert (failed.status, failed.err.count("\n")) == (1, 1)
        assert failed.err.startswith("millrace: ")
        assert "secret-word" not in failed.err


def stray(engine: Engine, key: str, *, task: str | None) -> None:
    """A message that the broker gave up: a plain task's, or rubbish."""
    headers = {"task": task, "id": str(new_id()), "x-death": "gone"} if task else {}
    body = json.dumps([[], {"word": key}, {}]) if task else "rubbish"
    wire = Wire(key=key, queue="default", body=body, headers=headers, x_death=[])
    with engine.begin() as tx:
        error = job_error("task_failed", "It failed.")
        bury_stray(tx, wire, kind=task, error=error, again=False)


def test_plain_tasks_are_replayed_with_the_jobs_and_what_is_neither_is_left(
    run: Run, engine: Engine, tenant: Customer, queues: Queues
) -> None:
    unknown = dead(engine, tenant.id, Note())
    stray(engine, "one", task="tasks.probe")
    stray(engine, "two", task="tasks.probe")
    stray(engine, "three", task=None)
    words = ("incidents", "replay", "--all")
    tried = run(*words, "--dry-run", "--json").json
    assert (tried["dry_run"], tried["replayed"], tried["tasks"], tried["tasks_left"]) == (
        True,
        0,
        2,
        1,
    )
    assert [each["job_id"] for each in tried["skipped"]] == [str(unknown)]
    assert queues.take_all() == []
    said = run(*words)
    assert said.status == 0, "what can't be replayed is told, and no failure"
    assert said.out.splitlines() == [
        "replayed 0 jobs",
        "sent 2 tasks again, left 1 other message",
        f"skipped {unknown}: There is no kind 'test.note' any more.",
    ]
    sent = queues.take_all("default")
    assert [arguments_of(each)["word"] for each in sent] == ["one", "two"]
    assert all("x-death" not in headers_of(each) for each in sent)
    assert run(*words, "--json").json["tasks"] == 0, "once"


def test_a_replay_says_which_payloads_it_made_newer(
    run: Run, engine: Engine, tenant: Customer
) -> None:
    from app.jobs import ReportDaily

    job_id = dead(engine, tenant.id, ReportDaily())
    rewrite(engine, job_id, version=99, payload="{}")
    said = run("incidents", "replay", "--job", job_id)
    assert said.status == 0
    assert f"skipped {job_id}: " in said.out
    assert job_facts(engine, job_id).state == "dead"
    assert run("incidents", "replay", "--job", "no-id").status == 2
    gone = run("incidents", "replay", "--until", "2020-01-01", "--json").json
    assert (gone["replayed"], gone["skipped"]) == (0, [])


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            ValidationError.from_exception_data(
                "Settings",
                [
                    InitErrorDetails(
                        type=PydanticCustomError("x", "These two don't go together."), input={}
                    )
                ],
            ),
            "Settings are missing or wrong: These two don't go together. See docs/settings.md.",
        ),
        (
            SettingsError('error parsing value for field "x" from source "Env"'),
            'Settings can\'t be read: error parsing value for field "x" from source "Env".',
        ),
    ],
)
def test_settings_that_are_wrong_together_are_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
) -> None:
    def broken() -> None:
        raise error

    monkeypatch.setattr("app.settings.get_settings", broken)
    failed = run("storage", "init")
    assert failed.status == 1
    assert says in failed.err
    assert failed.err.count("\n") == 1
