"""Plain Celery tasks on the product's pools: sent with confirms, bounded, dead with a cause, sent again."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from app.broker.tasks import TaskMessage, TaskSender
from app.broker.topology import Queue
from app.errors import BrokerAway
from app.housekeeping.collector import Collector
from app.housekeeping.strays import replay_strays
from app.jobs import CATALOG
from app.ledger.replay import DeadFilter, discard
from app.settings import Settings
from tests.support.fleet import Fleet
from tests.support.queues import Queues
from tests.support.servers import wait_for
from tests.support.worker_jobs import Tally

LETTERS = text("""
    SELECT d.kind, d.code, d.error, d.state, d.queue, d.x_death IS NOT NULL AS died, i.frame
    FROM dead_letters d JOIN incidents i ON i.id = d.incident_id WHERE d.kind = :kind
    ORDER BY d.created_at
""")


@pytest.fixture
def sender(fleet: Fleet) -> Iterator[TaskSender]:
    made = TaskSender(fleet.settings)
    yield made
    made.close()


@pytest.fixture
def collect(fleet: Fleet) -> Iterator[Callable[[str], list[Any]]]:
    """The letters of a task, once there is one more than there was."""
    collector = Collector(fleet.settings, fleet.engine, CATALOG, {})

    def letters(kind: str) -> list[Any]:
        with fleet.engine.connect() as tx:
            return list(tx.execute(LETTERS, {"kind": kind}))

    def wait(kind: str) -> list[Any]:
        before = len(letters(kind))
        wait_for(
            lambda: collector.step() or len(letters(kind)) > before,
            seconds=30,
            what=f"{kind}'s letter",
        )
        return letters(kind)

    yield wait
    collector.close()


def test_the_web_side_sends_by_name_and_a_worker_runs_it(
    fleet: Fleet, sender: TaskSender, tmp_path: Path
) -> None:
    sender.send("tasks.test_touch", path=str(tmp_path / "sent"))
    sender.send("tasks.test_relay", path=str(tmp_path / "relayed"))
    sender.send("tasks.probe", word="anybody")
    for name in ("sent", "relayed"):
        wait_for((tmp_path / name).exists, what=name)
    wait_for(lambda: "anybody" in fleet.processes.log("worker"), what="the probe's line")


def test_one_that_raises_is_a_dead_letter_with_its_cause_and_can_be_sent_again(
    fleet: Fleet, sender: TaskSender, collect: Callable[[str], list[Any]], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    sender.send("tasks.test_fail", until=str(gate))
    (letter,) = collect("tasks.test_fail")
    assert (letter.code, letter.queue, letter.died) == ("exception", "default", True)
    assert (letter.error["type"], letter.error["message"]) == ("TooBad", "nothing at all")
    assert letter.frame == "tests.support.plain_tasks:fail"
    assert "raise TooBad" in letter.error["traceback"]
    with fleet.engine.connect() as tx:
        assert tx.execute(text("SELECT count(*) FROM task_errors")).scalar_one() == 0

    chosen = DeadFilter(kind="tasks.test_fail")
    with fleet.engine.begin() as tx:
        assert replay_strays(tx, sender, chosen, reason="test", dry_run=True).sent == 1
    with fleet.engine.begin() as tx:
        replay_strays(tx, sender, chosen, reason="too soon")
    assert [each.state for each in collect("tasks.test_fail")] == ["replayed", "open"]
    gate.touch()
    with fleet.engine.begin() as tx:
        assert replay_strays(tx, sender, chosen, reason="mended").sent == 1
    wait_for(lambda: gate.read_text() == "done", what="the replayed task")
    with fleet.engine.begin() as tx:
        assert replay_strays(tx, sender, chosen, reason="again").sent == 0


def test_retries_are_at_once_and_end(
    sender: TaskSender, collect: Callable[[str], list[Any]], tmp_path: Path
) -> None:
    sender.send("tasks.test_again", folder=str(tmp_path))
    (letter,) = collect("tasks.test_again")
    assert letter.error["message"] == "three times"
    assert {path.name for path in tmp_path.iterdir()} == {f"attempt-{n}" for n in range(3)}


def test_a_pause_is_refused_wherever_it_is_asked_for(
    fleet: Fleet, sender: TaskSender, collect: Callable[[str], list[Any]]
) -> None:
    sender.send("tasks.test_later")
    (letter,) = collect("tasks.test_later")
    assert letter.error["type"] == "PauseRefused"
    assert "make it a job" in letter.error["message"]
    message = TaskMessage(name="tasks.test_touch", queue="default", kwargs={"path": "x"}).encode()
    message.properties["application_headers"]["eta"] = "2999-01-01T00:00:00+00:00"
    with Queues(fleet.settings) as queues:
        queues.publish("millrace", "default", message)
    assert len(collect("tasks.test_touch")) == 1


def test_the_soft_limit_reaches_it_even_where_a_job_ran_before(
    fleet: Fleet, sender: TaskSender, collect: Callable[[str], list[Any]]
) -> None:
    fleet.start_dispatcher()
    fleet.wait_until("succeeded", fleet.enqueue([Tally()]))
    sender.send("tasks.test_slow")
    (letter,) = collect("tasks.test_slow")
    assert letter.error["type"] == "SoftTimeLimitExceeded"
    fleet.stop("dispatcher")


def test_one_that_nobody_knows_says_so(
    fleet: Fleet, sender: TaskSender, collect: Callable[[str], list[Any]]
) -> None:
    sender.send("tasks.nobody_has_it")
    (letter,) = collect("tasks.nobody_has_it")
    assert (letter.code, letter.state) == ("unknown_kind", "open")
    with fleet.engine.begin() as tx:
        assert discard(tx, DeadFilter(kind="tasks.nobody_has_it"), reason="a typo").number == 1


def test_what_cannot_be_sent_is_refused_before_it_is(
    sender: TaskSender, queues: Queues, settings: Settings
) -> None:
    with pytest.raises(ValueError, match="no plain task"):
        sender.send("import.plan", import_id=str(uuid4()))
    with pytest.raises(TypeError):
        sender.send("tasks.probe", word=object())
    away = settings.model_copy(update={"broker_url": _nowhere(settings)})
    with pytest.raises(BrokerAway):
        TaskSender(away).send("tasks.probe")


def _nowhere(settings: Settings) -> Any:
    from pydantic import SecretStr

    return SecretStr("amqp://u:p@127.0.0.1:1/none")


def test_a_connection_that_broke_while_idle_is_made_anew(
    fleet: Fleet, sender: TaskSender, tmp_path: Path
) -> None:
    sender.send("tasks.probe")
    assert sender._publisher is not None
    with suppress(OSError):
        sender._publisher._connection.transport.sock.close()
    sender.send("tasks.test_touch", path=str(tmp_path / "sent"))
    wait_for((tmp_path / "sent").exists, what="the task")


def test_what_is_sent_is_what_celery_sends() -> None:
    message = TaskMessage(name="tasks.probe", queue=Queue.LOW, kwargs={"word": "x"}).encode()
    assert json.loads(message.body)[:2] == [[], {"word": "x"}]
    headers = message.properties["application_headers"]
    assert (headers["task"], headers["eta"]) == ("tasks.probe", None)
    assert message.properties["delivery_mode"] == 2
