"""The worker's processes: a heartbeat file for the main one; children that don't outlive it, and that
spend their time on rows and not on looking for cycles among them.
"""

import ctypes
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from billiard.process import active_children
from celery import Celery, bootsteps
from celery.signals import (
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_shutdown,
    worker_shutting_down,
)
from kombu.asynchronous import get_event_loop

from app.health import Heartbeat
from app.settings import Settings
from app.traces import spans
from workers.runtime.database_away import DatabaseAway
from workers.runtime.given_back import GivenBack
from workers.runtime.pool_status import PoolStatus
from workers.runtime.presence import Presence
from workers.runtime.shards import ShardConsumers
from workers.runtime.vitals import Connected, Vitals, last_turn

log = structlog.get_logger()

HEARTBEAT_SECONDS = 5.0
LOST_CHILDREN_SECONDS = 0.25
GC_THRESHOLD = (100_000, 20, 50)
_PR_SET_PDEATHSIG = 1


def install(app: Celery, settings: Settings, *, before_exit: Callable[[], None]) -> None:
    """Add all of this to the app's workers. `before_exit` is a child's last word."""

    def exit_now(**signal: Any) -> None:
        before_exit()
        _exit_at_once(**signal)

    def prepare_traces(**_: Any) -> None:
        spans.prepare(settings)

    def begin_traces(**_: Any) -> None:
        spans.begin(settings, "millrace-worker")

    worker_process_init.connect(_die_with_parent)
    worker_process_init.connect(_relax_gc)
    worker_process_init.connect(begin_traces, weak=False)
    worker_process_shutdown.connect(exit_now, weak=False)
    worker_init.connect(prepare_traces, weak=False)
    worker_init.connect(keep_what_is_loaded)
    Drain.seconds = settings.worker_drain_seconds
    worker_shutting_down.connect(Drain.begin)
    worker_shutdown.connect(last_turn)
    app.steps["worker"].add(LostChildren)
    PoolStatus.install(app, settings)
    Presence.install(app)
    GivenBack.install(app)
    DatabaseAway.install(app)
    Vitals.heartbeat = Heartbeat(settings.heartbeat_file)
    app.steps["worker"].add(Liveness)
    app.steps["consumer"].add(Connected)
    app.steps["consumer"].add(ShardConsumers)


def _die_with_parent(**_: Any) -> None:
    """Have the kernel kill this child when the main process dies (Linux; elsewhere it ends with its job).

    An orphan would hold a copy of the broker's socket, and the broker would keep its messages from the
    other workers until it ended.
    """
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died in between
            os._exit(1)


def _relax_gc(**_: Any) -> None:
    """Collect garbage less often: cleaning a chunk makes 100,000 small objects and not one cycle, and at
    Python's own setting a third of its time goes into looking for some.
    """
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)


def keep_what_is_loaded(**_: Any) -> None:
    """Celery's pool collects garbage before it forks each child. Of what Celery itself has loaded by now nothing is
    garbage, and looking through it takes three times as long as a fork.
    """
    gc.freeze()


def _exit_at_once(*, exitcode: int, **_: Any) -> None:
    """End a child that has no more to do; Celery's pool would have it sleep for a second first.

    By now its last result is in the pipe, and the main process has read it.
    """
    os._exit(exitcode)


class Drain:
    """Told to stop, a worker takes nothing new and finishes what it runs; this ends what doesn't finish.

    Celery's warm shutdown waits for ever. After `seconds` the children are killed: their messages go back
    to the broker, and another worker takes the jobs over.
    """

    seconds: float = 0.0

    @classmethod
    def begin(cls, **_: Any) -> None:
        """Start the clock; the process ends by itself when it is done sooner."""
        threading.Thread(target=cls._run, name="drain", daemon=True).start()

    @classmethod
    def _run(cls) -> None:
        hub = get_event_loop()
        if hub is not None:  # wake it: it may be idle for another second before it looks
            hub.call_soon(lambda: None)
        time.sleep(cls.seconds)
        _end_children()


def _end_children() -> None:
    for child in active_children():
        log.warning("worker.drain_over", child=child.pid)
        if child.pid is not None:
            os.kill(child.pid, signal.SIGKILL)


class LostChildren(bootsteps.StartStopStep):
    """Looks for children that were killed, several times a second.

    Celery looks when a child's pipe closes, which the kernel does a moment before the child counts as
    dead: whoever looks too soon sees it alive, and looks again five seconds later.
    """

    requires = ("celery.worker.components:Timer", "celery.worker.components:Pool")

    def start(self, parent: Any) -> None:
        """Begin; it goes on for as long as the loop turns."""
        parent.timer.call_repeatedly(LOST_CHILDREN_SECONDS, parent.pool.maintain_pool)


class Liveness(bootsteps.StartStopStep):
    """Beats from the main process's event loop: a stuck loop stops beating."""

    requires = ("celery.worker.components:Timer",)

    def start(self, parent: Any) -> None:
        """Begin, and beat for as long as the loop turns."""
        self._beat()
        parent.timer.call_repeatedly(HEARTBEAT_SECONDS, self._beat, priority=10)

    def stop(self, _parent: Any) -> None:
        """A stopped worker has no heartbeat."""
        Vitals.heartbeat.end()

    def _beat(self) -> None:
        Vitals.heartbeat.beat()
