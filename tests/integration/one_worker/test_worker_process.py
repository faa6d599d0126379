"""A real Celery worker: nothing that reaches it vanishes, and a hung job does not stay hung."""

import json
from typing import Any

import amqp
import pytest

from app.broker.message import JobMessage
from app.broker.topology import EXCHANGE
from app.ids import new_id
from infra.local.waiting import until
from tests.support.dispatching import dispatching
from tests.support.fleet import Fleet
from tests.support.jobs import Note, assert_lawful, events, job_facts
from tests.support.queues import Queues, arguments_of, headers_of
from tests.support.servers import Servers, wait_for
from tests.support.worker_jobs import Doomed, Stuck


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


@pytest.mark.usefixtures("broker")
def test_a_worker_declares_the_topology_and_nothing_else(servers: Servers) -> None:
    columns = ("source_name", "destination_name", "destination_kind")
    said = servers.rabbitmqctl("list_bindings", "--vhost", "millrace", "--formatter=json", *columns)
    bindings = json.loads(said)  # each queue has one to the exchange without a name
    queues = {one["destination_name"] for one in bindings if one["destination_kind"] == "queue"}
    lasting = {name for name in queues if "celery" not in name and "pidbox" not in name}
    assert lasting == {"high", "default", "low", "dead"}
    bound = {name for one in bindings for name in (one["source_name"], one["destination_name"])}
    assert not [name for name in bound if "delayed" in name]


def test_what_nobody_can_read_ends_in_the_dead_letters(fleet: Fleet, broker: Queues) -> None:
    sent = unreadable_messages()
    for message in sent:
        broker.publish(EXCHANGE, "default", message)
    missing = {message.properties["message_id"] for message in sent}

    def all_dead() -> bool:
        missing.difference_update(m.properties["message_id"] for m in broker.dead())
        return not missing

    assert until(all_dead, seconds=20), missing
    assert broker.depth("default") == 0
    assert fleet.alive("worker")


def test_a_hung_job_is_ended_by_its_hard_limit_and_tried_again(
    fleet: Fleet, broker: Queues
) -> None:
    engine = fleet.engine
    with dispatching(fleet.settings, engine):
        stuck, doomed, unheard = fleet.enqueue([Stuck(), Doomed(), Note()])
        fleet.wait_until("succeeded", [stuck])
        fleet.wait_until("dead", [doomed])
        wait_for(lambda: broker.depth("dead") == 2, what="the dead letters")
    assert events(engine, stuck) == ["enqueue", "dispatch", "claim", "take_over", "succeed"]
    assert job_facts(engine, stuck).attempt == 2
    letters = {arguments_of(message)["job_id"]: message for message in broker.dead()}
    assert set(letters) == {str(doomed), str(unheard)}
    (death,) = headers_of(letters[str(doomed)])["x-death"]
    assert (death["queue"], death["reason"]) == ("default", "rejected")
    assert assert_lawful(engine) >= 3
