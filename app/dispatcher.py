"""The dispatcher: takes due jobs from the outbox, publishes them, and says so once the broker has them.

One batch is one transaction: lock, publish, await the confirms, mark, commit. A crash between the
confirms and the commit publishes a batch twice, which the claim makes harmless; nothing else does.
Any number of dispatchers may run. Beside dispatching each does the chores of `app.housekeeping`.
"""

import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import FrameType

import psycopg
import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from app.aftermath import AFTERMATHS
from app.broker.affinity import OFF, Affinity, publish_near
from app.broker.message import JobMessage
from app.broker.publisher import Publisher, prepare_shards
from app.broker.topology import Queue
from app.broker.window import Bounds, Windows
from app.connections import DISPATCHER
from app.db import close, listen, make_engine, reach
from app.errors import BrokerAway
from app.health import NOT_YET, OK, Heartbeat, Probe
from app.housekeeping.all_chores import chores_of
from app.housekeeping.depths import Depths
from app.jobs import CATALOG
from app.ledger.affinity import affinity_of
from app.ledger.aftermath import Aftermaths
from app.ledger.contract import Catalog
from app.ledger.enqueue import OUTBOX_CHANNEL
from app.ledger.outbox import DueJob, Round, mark_queued, postpone, take_due
from app.logs import cause
from app.metrics import declared
from app.metrics.declared import Process
from app.metrics.registry import counter, gauge, histogram, registry
from app.metrics.serving import StatusServer
from app.server_limits import check_at_start
from app.settings import Settings
from app.traces import spans

log = structlog.get_logger()

REFUSED_PAUSE_SECONDS = 1.0
CURBED_PAUSE_SECONDS = 0.05
"""How soon to look again at jobs that a limit holds back."""
RECONNECT_SECONDS = (0.1, 0.2, 0.5)
NAME = "millrace-dispatcher"

_MOST_URGENT = next(iter(Queue)).value

_BATCH_JOBS = histogram(declared.BATCH_JOBS)
_BATCH_SECONDS = histogram(declared.BATCH_SECONDS)
_CONFIRM_SECONDS = histogram(declared.CONFIRM_SECONDS)
_DISPATCHED = counter(declared.DISPATCHED)
_REFUSED = counter(declared.REFUSED)
_CONNECTED = gauge(declared.CONNECTED)


@dataclass(frozen=True, slots=True)
class Batch:
    """What the broker said to the jobs of one batch, and how long it took to say it."""

    confirmed: Sequence[DueJob] = ()
    refused: Sequence[DueJob] = ()
    confirm_seconds: float = 0.0

    @property
    def jobs(self) -> int:
        """How many were due."""
        return len(self.confirmed) + len(self.refused)


def dispatch_batch(
    tx: Connection,
    publisher: Publisher,
    *,
    batch: int,
    catalog: Catalog = CATALOG,
    rooms: Mapping[str, int] | None = None,
    this: Round | None = None,
    windows: Windows | None = None,
    idle_seconds: int | None = None,
    affinity: Affinity = OFF,
) -> int:
    """Publish one batch inside `tx`; returns how many jobs were taken, refused ones included. `rooms` is how
    many each queue may get; `windows` learn what it got; for `idle_seconds` see take_due; kinds with `affinity` go to
    their tenants' shards.

    Raises BrokerAway when the broker goes away: `tx` must then be rolled back.
    """
    return publish_due(
        tx,
        publisher,
        batch=batch,
        catalog=catalog,
        rooms=rooms,
        this=this,
        windows=windows,
        idle_seconds=idle_seconds,
        affinity=affinity,
    ).jobs


class Interrupted(Exception):
    """A round was left before anything was sent: there is something that is not to wait for it."""


def publish_due(
    tx: Connection,
    publisher: Publisher,
    *,
    batch: int,
    catalog: Catalog,
    rooms: Mapping[str, int] | None = None,
    this: Round | None = None,
    windows: Windows | None = None,
    idle_seconds: int | None = None,
    affinity: Affinity = OFF,
    hurry: Callable[[], bool] = lambda: False,
) -> Batch:
    """As `dispatch_batch`. Raises Interrupted where `hurry`, which is asked before anything is sent, says so: then `tx` is to
    be rolled back, and `this` forgotten.
    """
    due = take_due(tx, batch=batch, rooms=rooms, this=this, idle_seconds=idle_seconds)
    if not due:
        return Batch()
    if hurry():
        raise Interrupted
    groups = together(due, catalog)
    sends = [spans.send(group) for group in groups]
    began = time.monotonic()
    messages = [_message(group, sent, affinity) for group, sent in zip(groups, sends, strict=True)]
    taken = publish_near(publisher, messages)
    seconds = time.monotonic() - began
    for sent, ok in zip(sends, taken, strict=True):
        sent.end(confirmed=ok)
    answers = list(zip(groups, taken, strict=True))
    if windows is not None:
        # A shard has no window: what a tenant has there is limited, and waits for nobody but its neighbours.
        _count(
            windows, [group for group, ok in answers if ok and group[0].kind not in affinity.kinds]
        )
    confirmed = [job for group, ok in answers if ok for job in group]
    refused = [job for group, ok in answers if not ok for job in group]
    if confirmed:
        mark_queued(tx, [job.id for job in confirmed])
    if refused:
        postpone(tx, [job.id for job in refused], seconds=REFUSED_PAUSE_SECONDS)
        log.warning("dispatch.refused", jobs=len(refused))
    return Batch(confirmed, refused, seconds)


def _count(windows: Windows, groups: Sequence[Sequence[DueJob]]) -> None:
    for queue in {group[0].queue for group in groups}:
        sizes = [len(group) for group in groups if group[0].queue == queue]
        windows.sent(queue, jobs=sum(sizes), messages=len(sizes))


def together(due: Sequence[DueJob], catalog: Catalog) -> list[list[DueJob]]:
    """The jobs of each message, in the order in which the first of each is due."""
    groups: list[list[DueJob]] = []
    filling: dict[tuple[str, str, int], list[DueJob]] = {}
    for job in due:
        contract = catalog.get(job.kind)
        limit = 1 if contract is None else contract.spec.together
        wagon = (job.queue, job.kind, job.version)
        if wagon not in filling or len(filling[wagon]) >= limit:
            filling[wagon] = []
            groups.append(filling[wagon])
        filling[wagon].append(job)
    return groups


def _message(group: Sequence[DueJob], sent: spans.Sent, affinity: Affinity) -> JobMessage:
    job, *companions = group
    return JobMessage(
        job_id=job.id,
        kind=job.kind,
        version=job.version,
        attempt=job.attempt + 1,
        queue=job.queue,
        traceparent=sent.traceparent,
        companions=[(one.id, one.attempt + 1) for one in companions],
        near=job.tenant_id if job.kind in affinity.kinds and job.queue in affinity.pools else None,
    )


def _windows(settings: Settings) -> Windows:
    least = settings.dispatch_window_min
    bounds = Bounds(
        least=least,
        most=max(least, settings.dispatch_window_max),
        seconds=settings.dispatch_window_seconds,
    )
    return Windows([queue.value for queue in Queue], bounds)


class Dispatcher:
    """The process around `dispatch_batch`: connections, waiting, starting over."""

    def __init__(
        self,
        settings: Settings,
        *,
        catalog: Catalog = CATALOG,
        aftermaths: Aftermaths = AFTERMATHS,
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        # One connection for the dispatching, one for each chore, one for who reads the metrics, one for who
        # asks whether it is ready.
        self._engine = make_engine(settings, pool_size=DISPATCHER.pool, application_name=NAME)
        self._stopping = False
        self._wished = affinity_of(settings, catalog)
        self._affinity = OFF
        self._round = Round()
        self._windows = _windows(settings)
        self._chores = chores_of(settings, self._engine, catalog, aftermaths)
        self._depths = Depths(settings, self._engine, catalog)
        self._heartbeat = Heartbeat(settings.heartbeat_file)
        self._broker = NOT_YET
        self._status = StatusServer(
            settings,
            registry(Process.DISPATCHER),
            heartbeat=self._heartbeat,
            checks={
                "broker": lambda: self._broker,
                "database": Probe(lambda: reach(self._engine)),
            },
        )

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Finish the batch in hand, then return from `run`."""
        self._stopping = True

    def run(self) -> None:
        """Dispatch until `stop`; a lost server is waited for, never a reason to end."""
        for total, queue in product((_DISPATCHED, _REFUSED), Queue):
            total.labels(queue.value)  # 0 from the start on: a rate sees the first batch
        spans.begin(self._settings, NAME)
        self._chores.start()
        self._show(shown=True)
        failures = 0
        while not self._stopping:
            try:
                self._run_connected()
            except (BrokerAway, DBAPIError, psycopg.Error) as error:
                pause = RECONNECT_SECONDS[min(failures, len(RECONNECT_SECONDS) - 1)]
                failures += 1
                if isinstance(error, BrokerAway):
                    self._broker = type(error.__cause__ or error).__name__
                log.warning("dispatcher.disconnected", error=cause(error), retry_seconds=pause)
                self._heartbeat.beat()
                time.sleep(pause)
            else:
                failures = 0
        self._chores.stop()
        self._show(shown=False)
        close(self._engine)
        spans.end()
        log.info("dispatcher.stopped")

    def _run_connected(self) -> None:
        self._affinity = prepare_shards(self._settings, self._wished)
        publisher = Publisher(self._settings)
        self._broker = OK
        self._windows = _windows(self._settings)
        try:
            with listen(self._settings, OUTBOX_CHANNEL, application_name=NAME) as listener:
                log.info("dispatcher.ready")
                _CONNECTED.set(1)
                self._loop(publisher, listener)
        finally:
            _CONNECTED.set(0)
            publisher.close()

    def _loop(self, publisher: Publisher, listener: psycopg.Connection) -> None:
        everything = [queue.value for queue in Queue]
        watched, look_at = everything, 0.0
        # Where alone a further round finds something, until somebody had to wait.
        again: frozenset[str] = frozenset()
        while not self._stopping:
            self._heartbeat.beat()
            if _told(listener, 0):  # and who it is about waits for no more rounds of others alone
                watched, again = everything, frozenset()
            rooms = self._windows.rooms(publisher.depth, time.monotonic())
            full = [queue for queue, room in rooms.items() if room == 0]
            wanted = {queue: rooms[queue] for queue in watched if rooms[queue] > 0}
            publisher.keep_alive()
            if wanted and (not again or again & wanted.keys()):
                # What has come in meanwhile waits for no round without the most urgent queue.
                urgent = rooms[_MOST_URGENT] > 0 and _MOST_URGENT not in wanted
                next_look_at = self._dispatch(publisher, wanted, listener if urgent else None)
                if next_look_at is None:
                    watched, again = everything, frozenset()
                    continue
                # A look at some says nothing of the others, of whom one at a limit may be due for a look by then.
                look_at = min(look_at, next_look_at) if rooms.keys() - watched else next_look_at
                again = self._round.again
                if again:
                    # Nor do those wait who are due for a look, where what is sent is gone by the end of each round.
                    due = time.monotonic() >= look_at
                    watched = everything if due else list({*wanted, *full, *again})
                    continue
            again = frozenset()
            now = time.monotonic()
            left = max(0.0, look_at - now)
            waited = min(left, self._windows.seconds_to_look(full, now)) if full else left
            # Without a word, only a queue that was full can have become of interest.
            awake = _told(listener, waited) or waited == left
            watched = everything if awake else full
            look_at = time.monotonic() + self._settings.dispatch_poll_seconds if awake else look_at

    def _show(self, *, shown: bool) -> None:
        """The metrics, from now on or no longer."""
        if shown:
            registry(Process.DISPATCHER).register(self._depths)
            self._status.start()
        else:
            self._status.stop()
            registry(Process.DISPATCHER).unregister(self._depths)
            self._depths.close()

    def _dispatch(
        self, publisher: Publisher, rooms: Mapping[str, int], heeding: psycopg.Connection | None
    ) -> float | None:
        """When to look again without being told: at the next job's time, or after the poll. None: it came to nothing, as
        there is word on `heeding`.
        """
        this, began = self._round.copy(), time.monotonic()
        try:
            with self._engine.begin() as tx:
                done = publish_due(
                    tx,
                    publisher,
                    batch=self._settings.dispatch_batch_size,
                    catalog=self._catalog,
                    rooms=rooms,
                    this=this,
                    windows=self._windows,
                    idle_seconds=int(self._settings.confirm_timeout * 2),
                    affinity=self._affinity,
                    hurry=lambda: heeding is not None and _told(heeding, 0),
                )
        except Interrupted:
            return None
        self._round, ended = this, time.monotonic()  # what came to nothing is not remembered
        if done.jobs:
            _record(done, ended - began)
        looks = [ended + self._settings.dispatch_poll_seconds]
        if this.curbed:
            looks.append(ended + CURBED_PAUSE_SECONDS)
        if done.refused:
            looks.append(ended + REFUSED_PAUSE_SECONDS)
        if this.due_at is not None:
            looks.append(this.due_at)
        return min(looks)


def _told(listener: psycopg.Connection, seconds: float) -> bool:
    """Whether there is word within so many seconds. What came in meanwhile is read at once: it is one wake-up."""
    return bool(list(listener.notifies(timeout=seconds, stop_after=1)))


def _record(batch: Batch, seconds: float) -> None:
    """Once it is committed."""
    _BATCH_JOBS.observe(batch.jobs)
    _BATCH_SECONDS.observe(seconds)
    _CONFIRM_SECONDS.observe(batch.confirm_seconds)
    for total, jobs in ((_DISPATCHED, batch.confirmed), (_REFUSED, batch.refused)):
        for queue, number in Counter(job.queue for job in jobs).items():
            total.labels(queue).inc(number)


def run(settings: Settings) -> None:
    """The process: runs until SIGTERM or SIGINT. Exit status 78 when the plan of connections is over a limit."""
    check_at_start(settings)
    dispatcher = Dispatcher(settings)
    signal.signal(signal.SIGTERM, dispatcher.stop)
    signal.signal(signal.SIGINT, dispatcher.stop)
    dispatcher.run()
