"""The dispatcher: takes due jobs from the outbox, publishes them, and says so once the broker has them.

One batch is one transaction: lock, publish, await the confirms, mark, commit. A crash between the
confirms and the commit publishes a batch twice, which the claim makes harmless; nothing else does.
Any number of dispatchers may run. Beside dispatching each does the chores of `app.housekeeping`.
"""

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import psycopg
import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from app.aftermath import AFTERMATHS
from app.broker.message import JobMessage
from app.broker.publisher import Publisher
from app.db import listen, make_engine
from app.errors import BrokerAway
from app.housekeeping.chores import Chore, Chores
from app.housekeeping.collector import Collector
from app.housekeeping.janitor import Janitor
from app.housekeeping.scheduler import Scheduler
from app.housekeeping.timekeeper import Timekeeper
from app.jobs import CATALOG
from app.ledger.aftermath import Aftermaths
from app.ledger.contract import Catalog
from app.ledger.enqueue import OUTBOX_CHANNEL
from app.ledger.outbox import DueJob, mark_queued, postpone, seconds_to_next, take_due
from app.settings import Settings
from app.storage import make_storage

log = structlog.get_logger()

REFUSED_PAUSE_SECONDS = 1.0
RECONNECT_SECONDS = (0.1, 0.2, 0.5)
NAME = "millrace-dispatcher"


def dispatch_batch(
    tx: Connection, publisher: Publisher, *, batch: int, catalog: Catalog = CATALOG
) -> int:
    """Publish one batch inside `tx`; returns how many jobs were taken, refused ones included.

    Raises BrokerAway when the broker goes away: `tx` must then be rolled back.
    """
    due = take_due(tx, batch=batch)
    if not due:
        return 0
    groups = together(due, catalog)
    taken = publisher.publish([_message(group) for group in groups])
    answers = list(zip(groups, taken, strict=True))
    confirmed = [job.id for group, ok in answers if ok for job in group]
    refused = [job.id for group, ok in answers if not ok for job in group]
    if confirmed:
        mark_queued(tx, confirmed)
    if refused:
        postpone(tx, refused, seconds=REFUSED_PAUSE_SECONDS)
        log.warning("dispatch.refused", jobs=len(refused))
    return len(due)


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


def _message(group: Sequence[DueJob]) -> JobMessage:
    job, *companions = group
    return JobMessage(
        job_id=job.id,
        kind=job.kind,
        version=job.version,
        attempt=job.attempt + 1,
        queue=job.queue,
        traceparent=job.traceparent,
        companions=[(one.id, one.attempt + 1) for one in companions],
    )


def chores_of(
    settings: Settings, engine: Engine, catalog: Catalog, aftermaths: Aftermaths
) -> Chores:
    """What a dispatcher does beside dispatching, a thread each."""
    collector = Collector(settings, engine, catalog, aftermaths)
    timekeeper = Timekeeper(engine, aftermaths)
    scheduler = Scheduler(engine, catalog)
    janitor = Janitor(settings, make_storage(settings), engine)
    return Chores(
        Chore(name="collector", every_seconds=1.0, step=collector.step, close=collector.close),
        Chore(name="timekeeper", every_seconds=1.0, step=timekeeper.step),
        Chore(name="scheduler", every_seconds=1.0, step=scheduler.step),
        Chore(name="janitor", every_seconds=600.0, step=janitor.step),
    )


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
        # One connection for the dispatching and one for each chore.
        self._engine = make_engine(settings, pool_size=5, application_name=NAME)
        self._stopping = False
        self._chores = chores_of(settings, self._engine, catalog, aftermaths)

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Finish the batch in hand, then return from `run`."""
        self._stopping = True

    def run(self) -> None:
        """Dispatch until `stop`; a lost server is waited for, never a reason to end."""
        self._chores.start()
        failures = 0
        while not self._stopping:
            try:
                self._run_connected()
            except (BrokerAway, DBAPIError, psycopg.Error) as error:
                pause = RECONNECT_SECONDS[min(failures, len(RECONNECT_SECONDS) - 1)]
                failures += 1
                log.warning("dispatcher.disconnected", error=str(error), retry_seconds=pause)
                self._beat()
                time.sleep(pause)
            else:
                failures = 0
        self._chores.stop()
        self._engine.dispose()
        log.info("dispatcher.stopped")

    def _run_connected(self) -> None:
        publisher = Publisher(self._settings)
        try:
            with listen(self._settings, OUTBOX_CHANNEL, application_name=NAME) as listener:
                log.info("dispatcher.ready")
                self._loop(publisher, listener)
        finally:
            publisher.close()

    def _loop(self, publisher: Publisher, listener: psycopg.Connection) -> None:
        while not self._stopping:
            self._beat()
            taken = self._dispatch(publisher)
            publisher.keep_alive()
            if taken == self._settings.dispatch_batch_size:
                continue
            pause = self._pause()
            # Notifications that came in meanwhile are read at once; several of them are one wake-up.
            for _ in listener.notifies(timeout=pause, stop_after=1):
                pass

    def _dispatch(self, publisher: Publisher) -> int:
        with self._engine.begin() as tx:
            tx.execute(
                text("SELECT set_config('idle_in_transaction_session_timeout', :limit, true)"),
                {"limit": f"{int(self._settings.confirm_timeout * 2)}s"},
            )
            size = self._settings.dispatch_batch_size
            return dispatch_batch(tx, publisher, batch=size, catalog=self._catalog)

    def _pause(self) -> float:
        with self._engine.connect() as tx:
            due_in = seconds_to_next(tx)
        poll = self._settings.dispatch_poll_seconds
        return poll if due_in is None else min(poll, due_in)

    def _beat(self) -> None:
        if self._settings.heartbeat_file:
            Path(self._settings.heartbeat_file).touch()


def run(settings: Settings) -> None:
    """The process: runs until SIGTERM or SIGINT."""
    dispatcher = Dispatcher(settings)
    signal.signal(signal.SIGTERM, dispatcher.stop)
    signal.signal(signal.SIGINT, dispatcher.stop)
    dispatcher.run()
