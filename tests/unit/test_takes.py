"""What a worker holds for children that take several messages at a time: who gets what, and what the broker is told."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import Celery
from celery.worker import state
from hypothesis import given, settings
from hypothesis import strategies as st
from kombu.message import Message

import workers.handlers  # noqa: F401 - registers the kinds
from app.jobs.payment_apply_event import PaymentApplyEvent
from workers.runtime.executor import Disposition
from workers.runtime.group import brief_delivery
from workers.runtime.request import Request
from workers.runtime.takes import Takes

BRIEF = PaymentApplyEvent.spec.kind
LONG = "import.plan"
PLAIN = "tasks.test"
MOST = 4

app = Celery("test", set_as_current=False)


def never() -> None:
    """Nothing is run here."""


for name in (BRIEF, LONG, PLAIN):
    app.task(name=name, acks_late=True, acks_on_failure=False, ignore_result=True)(never)
app.finalize()


@dataclass
class Channel:
    """The broker's side: it refuses a tag that it doesn't know."""

    tags: Any = field(default_factory=lambda: count(1))
    open: set[int] = field(default_factory=set)
    returned: set[int] = field(default_factory=set)
    words: int = 0
    no_ack_consumers: None = None

    def basic_ack(self, tag: int, multiple: bool = False) -> None:
        assert tag in self.open
        self.words += 1
        self.open -= {one for one in self.open if one <= tag} if multiple else {tag}

    def basic_reject(self, tag: int, requeue: bool = False) -> None:
        assert tag in self.open
        self.open.remove(tag)
        if requeue:
            self.returned.add(tag)


class Work(SimpleNamespace):
    """What a child has."""

    child: int
    requests: Sequence[Request]
    callback: Callable[[Any], None]


@dataclass
class Back:
    """Jobs on their way into the outbox."""

    requests: Sequence[Request]
    is_over: bool = False
    done: frozenset[UUID] = frozenset()

    def end(self, *, done: bool) -> None:
        self.is_over = True
        self.done = frozenset(UUID(request.id) for request in self.requests if done)


class Worker:
    """A consumer with its pool of children, as far as `Takes` looks at it."""

    def __init__(self, children: int) -> None:
        self.channel = Channel()
        self.soon: list[Callable[[], None]] = []
        self.running: list[Work] = []
        self.given: list[list[Request]] = []
        self.now = 0.0
        self.returning: list[Back] = []
        state.reserved_requests.clear()
        inside = SimpleNamespace(
            _all_inqueues=set(range(children)),
            _busy_workers=set(),
            _active_writes=set(),
            outbound_buffer=[],
        )
        self.inside = inside
        self.consumer = SimpleNamespace(
            pool=SimpleNamespace(_pool=inside, apply_async=self._apply),
            task_consumer=SimpleNamespace(channel=self.channel),
            controller=SimpleNamespace(blueprint=SimpleNamespace(state=None)),
            connection_errors=(OSError,),
            initial_prefetch_count=children * MOST,
        )
        self.takes = Takes(
            self.consumer,
            self._start,
            most=MOST,
            put_back=self._put_back,
            clock=lambda: self.now,
        )

    def deliver(self, kind: str, *, redelivered: bool = False) -> Request:
        job_id = str(uuid4())
        tag = next(self.channel.tags)
        self.channel.open.add(tag)
        message = Message(
            body=json.dumps([[], {"job_id": job_id, "attempt": 1, "version": 1}, {}]),
            delivery_tag=tag,
            channel=self.channel,
            content_type="application/json",
            content_encoding="utf-8",
            accept={"application/json"},
            headers={"task": kind, "id": job_id, "lang": "py"},
            delivery_info={"redelivered": redelivered},
            properties={},
        )
        request = Request(
            message,
            app=app,
            task=app.tasks[kind],
            hostname="worker@test",
            on_ack=partial(self._soon, message.ack_log_error),
            on_reject=partial(self._soon, message.reject_log_error),
        )
        self.takes.delivered(message)
        state.task_reserved(request)
        self.takes.add(request)
        return request

    def end(self, work: Work, said: Disposition = Disposition.ACKNOWLEDGE) -> None:
        self.running.remove(work)
        self.inside._busy_workers.discard(work.child)
        work.callback([said] * len(work.requests))

    def look_in(self, seconds: float) -> None:
        """And a turn of the loop."""
        self.now += seconds
        self.takes.look()
        self.turn()

    def turn(self) -> None:
        """The loop's: in no order, as there."""
        soon, self.soon = self.soon, []
        for each in reversed(soon):
            each()
        self.takes.give()

    def _put_back(self, requests: Sequence[Request]) -> Any:
        self.returning.append(Back(requests))
        return self.returning[-1]

    def _soon(self, what: Callable[..., None], *arguments: Any) -> None:
        self.soon.append(partial(what, *arguments))

    def _start(self, request: Request) -> None:
        self._begin([request], lambda _: request.on_success((0, None, 0.0)))

    def _apply(self, _: Any, **options: Any) -> None:
        group = options["callback"].__self__
        self._begin(group._requests, options["callback"])

    def _begin(self, requests: Sequence[Request], callback: Callable[[Any], None]) -> None:
        child = min(self.inside._all_inqueues - self.inside._busy_workers)
        self.inside._busy_workers.add(child)
        self.given.append(list(requests))
        self.running.append(Work(child=child, requests=requests, callback=callback))


@pytest.mark.parametrize(
    ("messages", "children", "sizes"),
    [(1, 2, [1]), (2, 2, [1, 1]), (5, 2, [3, 2]), (20, 2, [4, 4]), (6, 1, [4]), (7, 3, [3, 2, 2])],
)
def test_idle_children_share_what_is_at_hand_evenly(
    messages: int, children: int, sizes: list[int]
) -> None:
    worker = Worker(children)
    for _ in range(messages):
        worker.deliver(BRIEF)
    worker.turn()
    assert [len(each) for each in worker.given] == sizes


def may_share(group: Sequence[Request]) -> bool:
    return all(one.type == BRIEF and not one.delivery_info["redelivered"] for one in group)


def test_what_is_not_brief_or_comes_back_or_is_no_job_goes_alone() -> None:
    worker = Worker(5)
    for kind, redelivered in [
        (LONG, False), (BRIEF, True), (PLAIN, False), (BRIEF, False), (LONG, False), (BRIEF, False),
    ]:  # fmt: skip
        worker.deliver(kind, redelivered=redelivered)
    worker.turn()
    alone = [each for each in worker.given if len(each) == 1]
    assert len(worker.given) == 5
    assert len(alone) == 4
    (group,) = [each for each in worker.given if len(each) > 1]
    assert may_share(group)


def test_a_group_is_acknowledged_by_one_word() -> None:
    worker = Worker(1)
    for _ in range(MOST):
        worker.deliver(BRIEF)
    worker.turn()
    worker.end(worker.running[0])
    worker.turn()
    assert (worker.channel.words, worker.channel.open) == (1, set())


def test_of_the_same_job_twice_one_is_in_the_group() -> None:
    worker = Worker(1)
    first = worker.deliver(BRIEF)
    again = worker.deliver(BRIEF)
    again.id = first.id
    worker.turn()
    assert worker.given == [[first]]


def test_a_message_with_companions_is_as_many_as_one_child_takes() -> None:
    request = Worker(1).deliver(BRIEF)
    assert brief_delivery(request) is not None
    request.kwargs["companions"] = [[str(uuid4()), 1]]
    assert brief_delivery(request) is None


@pytest.fixture
def busy() -> Worker:
    """One child, with a long job, and two brief ones that wait."""
    worker = Worker(1)
    worker.deliver(LONG)
    worker.turn()
    worker.deliver(BRIEF)
    worker.deliver(BRIEF)
    worker.look_in(0.9)
    assert worker.returning == []
    worker.look_in(0.2)
    return worker


def test_what_waits_for_a_second_is_put_back_and_its_message_kept(busy: Worker) -> None:
    (back,) = busy.returning
    assert len(back.requests) == 2
    assert len(state.reserved_requests) == 3, "nothing is decided yet"
    back.end(done=True)
    busy.look_in(0.25)
    assert busy.takes.kept == 2
    assert len(state.reserved_requests) == 1
    assert busy.channel.open == {1, 2, 3}
    for _ in range(60):
        busy.look_in(0.25)
    assert busy.channel.open == {1, 2, 3}, "its child is as busy as before"
    assert len(busy.given) == 1

    busy.end(busy.running[0])
    busy.turn()
    assert busy.takes.kept == 2, "the broker has room for one: that of the long job"
    for _ in range(41):
        busy.look_in(0.25)
    assert (busy.takes.kept, busy.channel.open) == (0, set())
    assert len(busy.given) == 1


def test_for_an_idle_child_a_kept_message_is_let_go_where_the_broker_has_no_room(
    busy: Worker,
) -> None:
    busy.returning[0].end(done=True)
    busy.look_in(0.25)
    busy.consumer.initial_prefetch_count = 2
    busy.end(busy.running[0])
    busy.turn()
    busy.turn()
    busy.turn()
    assert (busy.takes.kept, len(busy.channel.open)) == (1, 1)


def test_what_could_not_be_put_back_waits_on_and_runs(busy: Worker) -> None:
    busy.returning[0].end(done=False)
    busy.look_in(0.25)
    assert busy.takes.kept == 0
    busy.end(busy.running[0])
    busy.turn()
    assert [len(group) for group in busy.given] == [1, 2]


def test_a_plain_task_goes_back_through_the_broker_once() -> None:
    worker = Worker(1)
    worker.deliver(LONG)
    worker.turn()
    worker.deliver(PLAIN)
    again = worker.deliver(PLAIN, redelivered=True)
    worker.look_in(1.5)
    worker.turn()
    assert worker.channel.open == {1, 3}
    assert worker.returning == []
    worker.end(worker.running[0])
    worker.turn()
    assert worker.given[-1] == [again]


def test_a_worker_that_ends_acknowledges_what_it_kept_and_hands_back_the_rest(busy: Worker) -> None:
    busy.returning[0].end(done=True)
    busy.look_in(0.25)
    busy.deliver(BRIEF)
    busy.takes.give_all_back()
    busy.turn()
    assert busy.channel.open == {1}
    assert busy.channel.returned == {4}
    assert len(busy.given) == 1


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just(BRIEF), st.integers(1, 2 * MOST)),
        st.sampled_from(["again", LONG, PLAIN]),
        st.tuples(st.just("end"), st.integers(0, 5)),
        st.just("turn"),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(steps=STEPS, children=st.integers(1, 3))
def test_each_message_is_run_once_and_acknowledged_once_it_has_run(
    steps: list[Any], children: int
) -> None:
    worker = Worker(children)
    came: dict[int, Request] = {}
    ended: set[int] = set()

    def end(which: int) -> None:
        work = worker.running[which % len(worker.running)]
        ended.update(request.message.delivery_tag for request in work.requests)
        worker.end(work)

    def deliver(kind: str) -> None:
        again = kind == "again"
        request = worker.deliver(BRIEF if again else kind, redelivered=again)
        came[request.message.delivery_tag] = request

    for step in steps:
        if step == "turn":
            worker.turn()
        elif step[0] == "end":
            if worker.running:
                end(step[1])
        else:
            kind, number = step if isinstance(step, tuple) else (step, 1)
            for _ in range(number):
                deliver(kind)
        assert came.keys() - worker.channel.open <= ended, "acknowledged before it had run"
        assert len(worker.running) <= children
    worker.turn()
    while worker.running:
        end(0)
        worker.turn()
    worker.turn()
    assert worker.channel.open == set()
    ran = [request.id for group in worker.given for request in group]
    assert sorted(ran) == sorted(request.id for request in came.values())
    assert all(len(group) == 1 or may_share(group) for group in worker.given)
    assert all(len(group) <= MOST for group in worker.given)
