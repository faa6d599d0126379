"""What a worker holds for its children where they take several messages at a time (`MILLRACE_WORKER_TAKES`), and who gets it.

An idle child is given what is at hand, if it is brief, shared out evenly: one message alone goes at once, and nothing waits to
be gathered. What isn't brief, or comes back, goes alone.

Nothing waits here for long while another worker may be idle. What found no child for a second is put back into the ledger's
outbox, from where any worker gets it, in a message of its own. The message that it had is *kept*, unacknowledged: as long as
it is, the broker gives us no other for it. With each child that becomes idle one kept message is let go, and all of them when the
children have been quick for a while.
"""

import time
from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from math import ceil
from typing import Any, cast
from uuid import UUID

import structlog
from celery.bootsteps import CLOSE  # type: ignore[attr-defined]  # the stubs lack it
from celery.utils.log import get_logger
from celery.worker import state
from kombu.message import Message

from workers.runtime.group import Group, brief_delivery
from workers.runtime.loop import idle_children
from workers.runtime.message import job_ids_of
from workers.runtime.registry import registrations
from workers.runtime.request import Request
from workers.runtime.unstarted import Returning

log = structlog.get_logger()
logger = get_logger(__name__)
"""What Celery's parts write to."""

LOOK_SECONDS = 0.25
HELD_SECONDS = 1.0
CALM_SECONDS = 10.0
"""The children have been quick: at each look for so long, one had been given something since the last, or was idle."""
KEPT_SECONDS = 300.0
"""For the broker a message that isn't acknowledged for long is a fault: it closes the channel after 30 minutes."""


class Takes:
    """Of a worker's consumer. All of it is done by the event loop; `start` gives one request to the pool, as stock, and
    `put_back` begins to put back the jobs of several.
    """

    def __init__(
        self,
        consumer: Any,
        start: Callable[[Request], Any],
        *,
        most: int,
        put_back: Callable[[Sequence[Request]], Returning] = Returning,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._consumer, self._start, self._most = consumer, start, most
        self._put_back, self._clock = put_back, clock
        self._waiting: deque[tuple[float, Request]] = deque()
        self._kept: deque[tuple[float, Request]] = deque()
        self._unsettled: dict[int, Message] = {}
        self._returning: Returning | None = None
        self._calm_at = 0.0
        self._gave = False
        self._watched = False

    @property
    def kept(self) -> int:
        """How many messages are kept."""
        return len(self._kept)

    def watch(self) -> None:
        """From now on the loop gives out what there is, and looks what waits."""
        if not self._watched:
            self._watched = True
            self._consumer.hub.on_tick.add(self.give)
            self._consumer.timer.call_repeatedly(LOOK_SECONDS, self.look)

    def delivered(self, message: Message) -> None:
        """To be called with each message before anything is done with it: its tag may stand between two others."""
        if self._is_from_queue(message):
            self._unsettled[_tag(message)] = message
            for tag in list(self._settled_first()):
                del self._unsettled[tag]

    def add(self, request: Request) -> None:
        """Hold the request until a child is idle."""
        self._waiting.append((self._clock(), request))

    def give(self) -> None:
        """Give to the idle children what is at hand."""
        while self._waiting and (idle := self._idle()):
            self._give_one(ceil(len(self._waiting) / idle))
        if self._kept and not self._waiting:
            self._make_room()

    def look(self) -> None:
        """Put back what has waited for too long."""
        now = self._clock()
        if self._returning is not None and self._returning.is_over:
            self._end_return(self._returning, now)
        late = self._waiting and now - self._waiting[0][0] >= HELD_SECONDS
        if late and self._returning is None:
            self._begin_return(now)
        if late or not (self._gave or self._idle()):
            self._calm_at = now + CALM_SECONDS
        self._gave = False
        while self._kept and (now >= self._calm_at or now - self._kept[0][0] >= KEPT_SECONDS):
            self._let_one_go()

    def let_go(self) -> None:
        """Of all kept messages: the broker counts anew."""
        while self._kept:
            self._let_one_go()

    def forget(self) -> None:
        """The line is lost, and with it what was held: the broker has it again."""
        self._waiting.clear()
        self._kept.clear()
        self._unsettled.clear()
        self._returning = None

    def give_all_back(self) -> None:
        """The worker ends: others are to have what no child of ours has begun."""
        self.let_go()
        away = self._returning.requests if self._returning else ()
        for request in (*away, *(request for _, request in self._waiting)):
            self._requeue(request)
        self._waiting.clear()
        self._returning = None

    def _idle(self) -> int:
        pool = self._consumer.pool._pool  # noqa: SLF001
        return max(0, len(idle_children(pool)) - len(pool.outbound_buffer))

    def _give_one(self, share: int) -> None:
        """To one child: the first that waits and, if that is brief, more such, up to a share."""
        self._gave = True
        _, first = self._waiting.popleft()
        delivery = brief_delivery(first)
        if delivery is None:
            self._start(first)
            return
        found, passed = {first.id: (first, delivery)}, list[tuple[float, Request]]()
        while self._waiting and len(found) < min(share, self._most):
            entry = self._waiting.popleft()
            request = entry[1]
            one = None if request.id in found else brief_delivery(request)
            if one is None:
                passed.append(entry)
            else:
                found[request.id] = (request, one)
        self._waiting.extendleft(reversed(passed))
        group = [pair for pair in found.values() if not pair[0].revoked()]
        if len(group) == 1:
            self._start(group[0][0])
        elif group:
            requests, deliveries = zip(*group, strict=True)
            Group(requests, deliveries, self._settle).start(self._consumer.pool)

    def _is_from_queue(self, message: Message) -> bool:
        """And not from a shard, which is another channel's and has its own worker."""
        tasks = self._consumer.task_consumer
        return tasks is not None and message.channel is tasks.channel

    def _settle(self, requests: Sequence[Request]) -> None:
        """Acknowledge their messages by one word, as far as no other's tag lies between; the rest is Celery's."""
        if self._consumer.controller.blueprint.state == CLOSE:
            return  # another thread writes to the line now
        own = {
            _tag(request.message): request
            for request in requests
            if self._is_from_queue(request.message)
        }
        covered = list(self._settled_first(own))
        asked = [tag for tag in covered if tag in own]
        if len(asked) < 2:  # noqa: PLR2004
            return
        last = own[asked[-1]].message
        last.ack_log_error(logger, self._consumer.connection_errors, multiple=True)
        for tag in asked:
            own[tag].acknowledged = True
        for tag in covered:
            del self._unsettled[tag]

    def _settled_first(self, own: Container[int] = ()) -> Iterator[int]:
        """The tags before the first that is neither settled nor one of `own`."""
        for tag, message in self._unsettled.items():
            if not (tag in own or message.acknowledged):
                return
            yield tag

    def _make_room(self) -> None:
        """For each idle child the broker is to have a message to give us."""
        known = len(state.reserved_requests) + len(self._kept)
        room = self._consumer.initial_prefetch_count - known
        for _ in range(min(len(self._kept), max(0, self._idle() - room))):
            self._let_one_go()

    def _let_one_go(self) -> None:
        _, request = self._kept.popleft()
        request.acknowledge()

    def _begin_return(self, now: float) -> None:
        """Of what has waited too long. A plain task goes back through the broker, which counts that: once only."""
        jobs: list[Request] = []
        for entry in [one for one in self._waiting if now - one[0] >= HELD_SECONDS]:
            request = entry[1]
            if not self._is_from_queue(request.message):
                continue
            if _jobs(request):
                self._waiting.remove(entry)
                jobs.append(request)
            elif not request.delivery_info.get("redelivered"):
                self._waiting.remove(entry)
                self._requeue(request)
        if jobs:
            self._returning = self._put_back(jobs)

    def _end_return(self, returning: Returning, now: float) -> None:
        """What isn't back in the outbox, because it isn't queued any more or the database is away, waits on."""
        self._returning = None
        for request in reversed(returning.requests):
            if returning.done.isdisjoint(_jobs(request)):
                self._waiting.appendleft((now, request))
            else:
                state.task_ready(request)
                self._kept.append((now, request))
        if returning.done:
            log.info("worker.put_back", jobs=len(returning.done), reason="no_child_free")

    def _requeue(self, request: Request) -> None:
        state.task_ready(request)
        request.reject(requeue=True)


def _jobs(request: Request) -> set[UUID]:
    """None: it is a plain task's."""
    return job_ids_of(request) if request.type in registrations() else set()


def _tag(message: Message) -> int:
    return cast("int", message.delivery_tag)
