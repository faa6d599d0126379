"""Messages by hand: delivered twice and in another order, lost, and such as were never ours."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import amqp
from amqp.basic_message import Message

from app.broker.message import JobMessage
from app.broker.publisher import connect
from app.broker.topology import DEAD_LETTER_EXCHANGE, EXCHANGE
from tests.chaos.faults.processes import NothingToStrike
from tests.chaos.journal import Blow
from tests.chaos.stage import Stage
from tests.chaos.timetable import Fault

TAKE = 4
TAKE_SECONDS = 8.0
_IDLE_SECONDS = 0.2
_BEFORE_OTHERS = {"x-priority": 100}
_WAITING = """
    SELECT j.id, j.kind, j.version, j.attempt, j.queue FROM outbox o JOIN jobs j ON j.id = o.job_id
    WHERE j.state = 'scheduled' AND o.run_at > clock_timestamp() + interval '1.5 seconds' LIMIT %s
"""
"""For long enough that they still do when the dispatcher looks into the dead letters."""


def duplicate(stage: Stage, fault: Fault) -> Blow:
    """Take a few messages from a queue, publish each twice and in another order, then let go of them."""
    began = time.time()
    with _channel(stage) as channel:
        taken = _take(channel, fault.target)
        for message in [*reversed(taken), *taken]:
            copy = Message(message.body, **_properties(message))
            channel.basic_publish_confirm(copy, EXCHANGE, routing_key=fault.target)
        _let_go(channel, taken)
    return Blow(fault=fault, began=began, ended=time.time(), jobs=_jobs(taken))


def lose(stage: Stage, fault: Fault) -> Blow:
    """Messages are gone from the broker, and nobody was told."""
    began = time.time()
    with _channel(stage) as channel:
        taken = _take(channel, fault.target)
        _let_go(channel, taken)
    return Blow(fault=fault, began=began, ended=time.time(), jobs=_jobs(taken))


def dead_letter_copies(stage: Stage, fault: Fault) -> Blow:
    """The broker gives up copies of what it once had, of jobs that wait: it dead-letters at least once, too. Who collects
    them holds such a job to look at it, and rolls back to a savepoint, on a connection that others go on with.
    """
    began = time.time()
    with stage.database() as tx:
        columns = ("job_id", "kind", "version", "attempt", "queue")
        waiting = [
            JobMessage(**dict(zip(columns, row, strict=True)))
            for row in tx.execute(_WAITING, [TAKE])
        ]
    if not waiting:
        raise NothingToStrike("no job waits for its time")
    with _channel(stage) as channel:
        for each in waiting:
            copy = each.encode()
            death = {"queue": each.queue, "reason": "rejected", "count": 1, "exchange": EXCHANGE}
            copy.properties["application_headers"]["x-death"] = [death]
            channel.basic_publish_confirm(copy, DEAD_LETTER_EXCHANGE, routing_key=fault.target)
    return Blow(fault=fault, began=began, ended=time.time())


def plant_rubbish(stage: Stage, fault: Fault) -> Blow:
    """One of each kind of message that no worker can use; each carries a mark in its body."""
    began = time.time()
    marks: list[str] = []
    with _channel(stage) as channel:
        for message in _rubbish():
            mark = f"rubbish-{uuid4().hex}"
            body = str(message.body).replace("MARK", mark)
            channel.basic_publish_confirm(
                Message(body, message_id=mark, delivery_mode=2, **message.properties),
                EXCHANGE,
                routing_key=fault.target,
            )
            marks.append(mark)
    return Blow(fault=fault, began=began, ended=time.time(), marks=tuple(marks))


def _rubbish() -> Iterator[Message]:
    """Not JSON; JSON of another shape; a task that nobody knows; a known one without a job."""
    json_type = {"content_type": "application/json", "content_encoding": "utf-8"}
    yield Message("{ MARK", **json_type, application_headers=_headers("chaos.row"))
    yield Message('{"MARK": 1}', **json_type, application_headers=_headers("chaos.row"))
    yield Message('[[], {"a": "MARK"}, {}]', **json_type, application_headers=_headers("no.such"))
    yield Message(
        '[[], {"job_id": "MARK"}, {}]', **json_type, application_headers=_headers("chaos.row")
    )
    yield Message("MARK", content_type="text/odd", content_encoding="utf-8")


def _headers(task: str) -> dict[str, object]:
    return {"task": task, "id": str(uuid4()), "lang": "py"}


@contextmanager
def _channel(stage: Stage) -> Iterator[amqp.Channel]:
    """A confirming channel of our own, past the proxies."""
    connection = connect(stage.settings)
    try:
        channel = connection.channel()
        channel.confirm_select()
        yield channel
        channel.close()
    finally:
        connection.collect()


def _take(channel: amqp.Channel, queue: str) -> list[Message]:
    """At least one message and at most a few, before any worker gets them. Raises NothingToStrike."""
    taken: list[Message] = []
    channel.basic_qos(0, TAKE, a_global=False)
    tag = channel.basic_consume(queue, callback=taken.append, arguments=_BEFORE_OTHERS)
    deadline = time.monotonic() + TAKE_SECONDS
    while not taken and time.monotonic() < deadline:
        _drain(channel)
    if len(taken) < TAKE:
        _drain(channel)
    channel.basic_cancel(tag)
    ours = [message for message in taken if _in(message)]
    for message in taken:
        if message not in ours:
            channel.basic_reject(_tag(message), requeue=True)
    if not ours:
        raise NothingToStrike(f"the queue {queue} stays empty")
    return ours


def _let_go(channel: amqp.Channel, messages: list[Message]) -> None:
    for message in messages:
        channel.basic_ack(_tag(message))


def _tag(message: Message) -> int:
    assert message.delivery_tag is not None
    return message.delivery_tag


def _drain(channel: amqp.Channel) -> None:
    try:
        channel.connection.drain_events(timeout=_IDLE_SECONDS)
    except TimeoutError:
        return


def _properties(message: Message) -> dict[str, object]:
    """As it was published: what the broker added stays behind."""
    kept = dict(message.properties)
    headers = dict(kept.pop("application_headers", {}))
    headers.pop("x-delivery-count", None)
    return {**kept, "application_headers": headers}


def _jobs(messages: list[Message]) -> tuple[UUID, ...]:
    return tuple(job_id for message in messages for job_id in _in(message))


def _in(message: Message) -> list[UUID]:
    """The jobs that the message is about; none for rubbish that was planted earlier."""
    try:
        arguments = json.loads(message.body)[1]
        companions = [UUID(job_id) for job_id, _ in arguments.get("companions", ())]
        return [UUID(arguments["job_id"]), *companions]
    except (ValueError, LookupError, TypeError, AttributeError):
        return []
