"""A real Celery worker: nothing that reaches it vanishes, and a hung job does not stay hung."""

import json
from typing import Any

import amqp
from sqlalchemy import Engine

from app.broker.message import JobMessage
from app.broker.topology import EXCHANGE
from app.ids import new_id
from app.settings import Settings
from infra.local.waiting import until
from tests.support.customers import Customer
from tests.support.dispatching import dispatching
from tests.support.jobs import add, assert_lawful, events, job_facts
from tests.support.processes import Processes
from tests.support.queues import Queues, arguments_of, headers_of
from tests.support.servers import Servers, wait_for

TEST_APP = "tests.support.worker_app"


def headers(task: str, task_id: str) -> dict[str, Any]:
    return {"lang": "py", "task": task, "id": task_id, "root_id": task_id, "parent_id": None}


def body(**arguments: object) -> str:
    return json.dumps([[], arguments, {}])


def letter(name: str, text: str | bytes, **properties: Any) -> amqp.Message:
    known = {"content_type": "application/json", "content_encoding": "utf-8", "delivery_mode": 2}
    return amqp.Message(text, message_id=name, **{**known, **properties})


def unreadable_messages() -> list[amqp.Message]:
    """What no handler can be found for, each named by its message id."""
    good = JobMessage(
        job_id=new_id(), kind="no.such.kind", version=1, attempt=1, queue="default"
    ).encode()
    good.properties["message_id"] = "unknown task"
    plan = headers("import.plan", str(new_id()))
    return [
        good,
        letter("not JSON", b"{nothing", application_headers=plan),
        letter("pickled", b"x", content_type="application/x-python-serialize"),
        letter("odd encoding", b"{}", content_encoding="klingon", application_headers=plan),
        letter("not a task", '{"hello": "world"}'),
        letter("no triple", "{}", application_headers=plan),
        letter("an odd triple", "[1, 2, 3]", application_headers=plan),
        letter("no arguments", body(), application_headers=plan),
        letter("no job id", body(job_id="x", version=1, attempt=1), application_headers=plan),
    ]


def test_what_nobody_can_read_ends_in_the_dead_letters(
    processes: Processes, queues: Queues
) -> None:
    worker = processes.worker("default")
    sent = unreadable_messages()
    for message in sent:
        queues.publish(EXCHANGE, "default", message)
    missing = {message.properties["message_id"] for message in sent}

    def all_dead() -> bool:
        missing.difference_update(m.properties["message_id"] for m in queues.dead())
        return not missing

    assert until(all_dead, seconds=20), missing
    assert queues.depth("default") == 0
    assert worker.poll() is None


def test_a_worker_declares_the_topology_and_nothing_else(
    processes: Processes, queues: Queues, servers: Servers
) -> None:
    for queue in ("high", "default", "low"):
        queues.channel.queue_delete(queue)
    processes.worker("low")
    queues.reopen()  # declares everything again, and fails where the worker did it differently

    def names(what: str) -> set[str]:
        listed = servers.rabbitmqctl(f"list_{what}", "--vhost", "millrace", "name")
        return {line.strip() for line in listed.splitlines()} - {"name", ""}

    lasting = {name for name in names("queues") if "celery" not in name and "pidbox" not in name}
    assert lasting == {"high", "default", "low", "dead"}
    assert not [name for name in names("queues") | names("exchanges") if "delayed" in name]


def test_a_hung_job_is_ended_by_its_hard_limit_and_tried_again(
    processes: Processes,
    settings: Settings,
    engine: Engine,
    tenant: Customer,
    queues: Queues,
) -> None:
    from tests.support.jobs import Note

    processes.worker("default", app=TEST_APP)
    with dispatching(settings, engine):
        stuck = add(engine, tenant.id, _job("Stuck"))
        doomed = add(engine, tenant.id, _job("Doomed"))
        unheard = add(engine, tenant.id, Note())
        wait_for(
            lambda: job_facts(engine, stuck).state == "succeeded", seconds=30, what="the retry"
        )
        wait_for(lambda: job_facts(engine, doomed).state == "dead", what="the doomed job's end")
        wait_for(lambda: queues.depth("dead") == 2, what="the dead letters")
    assert events(engine, stuck) == ["enqueue", "dispatch", "claim", "take_over", "succeed"]
    assert job_facts(engine, stuck).attempt == 2
    letters = {arguments_of(message)["job_id"]: message for message in queues.dead()}
    assert set(letters) == {str(doomed), str(unheard)}
    (death,) = headers_of(letters[str(doomed)])["x-death"]
    assert (death["queue"], death["reason"]) == ("default", "rejected")
    assert assert_lawful(engine) == 3


def _job(name: str) -> Any:
    """A contract of the test application, without its Celery app (and that app's settings)."""
    from typing import ClassVar

    from app.ledger.contract import JobContract, JobSpec

    class Job(JobContract):
        spec: ClassVar[JobSpec] = JobSpec(kind=f"test.{name.lower()}")

    return Job()
