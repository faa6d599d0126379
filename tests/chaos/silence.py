"""Workers that live and do nothing: a consumer that came back from a broken line and never took work again."""

import os
import signal
import threading
import time
from contextlib import suppress

import psutil
import psycopg

from tests.chaos.journal import Journal
from tests.chaos.stage import WORKERS, Stage

SILENT_SECONDS = 45.0
"""Longer than any fault or restart lasts."""
_PEERS_CLAIMS = 30
_LOOK_SECONDS = 5.0
_CLAIMS = """
    SELECT worker, count(*) FROM job_history
    WHERE event IN ('claim', 'take_over') AND at > clock_timestamp() - make_interval(secs => %s)
    GROUP BY worker
"""


class SilenceWatch:
    """Tells of a worker that took no job for SILENT_SECONDS while another one on its queue took many; its
    processes are made to write to their log where they hang. Runs until `over` is set.
    """

    def __init__(self, stage: Stage, journal: Journal, over: threading.Event) -> None:
        self._stage = stage
        self._journal = journal
        self._over = over
        self._told: set[str] = set()
        self._began = time.monotonic()
        self.thread = threading.Thread(target=self._run, name="silence", daemon=True)

    def _run(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            if time.monotonic() - self._began > SILENT_SECONDS:
                with suppress(psycopg.Error):
                    self._look()

    def _look(self) -> None:
        with self._stage.database() as tx:
            claims = {
                str(worker).partition("@")[0]: int(count)
                for worker, count in tx.execute(_CLAIMS, [SILENT_SECONDS])
            }
        for name, (queue, _) in WORKERS.items():
            busiest = max(
                claims.get(one, 0) for one, (other, _) in WORKERS.items() if other == queue
            )
            if busiest > _PEERS_CLAIMS and not claims.get(name) and name not in self._told:
                self._told.add(name)
                self._journal.fall_silent(name)
                self._ask_where(name)

    def _ask_where(self, name: str) -> None:
        pid = self._stage.system.pid(name)
        if pid is None:
            return
        with suppress(psutil.Error, OSError):
            for process in (psutil.Process(pid), *psutil.Process(pid).children()):
                os.kill(process.pid, signal.SIGUSR2)
