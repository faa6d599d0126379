"""Workers that live and do nothing: a consumer that came back from a broken line and never took work again."""

import os
import signal
import threading
import time
from contextlib import suppress

import psutil
import psycopg

from tests.chaos.journal import Journal
from tests.chaos.stage import Stage

SPELL_SECONDS = 15.0
SPELLS = 3
"""So many spells in a row without a job, in each of which a peer took several, are no accident."""
SILENT_SECONDS = SPELL_SECONDS * SPELLS
_PEERS_CLAIMS = 8
_LOOK_SECONDS = 5.0
_CLAIMS = """
    SELECT worker, floor(extract(epoch FROM clock_timestamp() - at) / %s)::int AS spell, count(*)
    FROM job_history
    WHERE event IN ('claim', 'take_over') AND at > clock_timestamp() - make_interval(secs => %s)
    GROUP BY worker, spell
"""


class SilenceWatch:
    """Tells of a worker that has been up for SILENT_SECONDS and took no job while another one on its queue took
    some all along, so that the broker was there; its processes are made to write to their log where they
    hang. Runs until `over` is set.
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
            rows = tx.execute(_CLAIMS, [SPELL_SECONDS, SILENT_SECONDS]).fetchall()
        claims = {
            (str(worker).partition("@")[0], int(spell)): int(count) for worker, spell, count in rows
        }
        workers = self._stage.workers
        for name, (queue, _) in workers.items():
            peers = [one for one, (other, _) in workers.items() if other == queue and one != name]
            silent = not any(claims.get((name, spell)) for spell in range(SPELLS))
            peers_took = any(
                all(claims.get((peer, spell), 0) >= _PEERS_CLAIMS for spell in range(SPELLS))
                for peer in peers
            )
            if silent and peers_took and name not in self._told and self._has_been_up(name):
                self._told.add(name)
                self._journal.fall_silent(name)
                self._ask_where(name)

    def _has_been_up(self, name: str) -> bool:
        """Whether no fault has ended the worker meanwhile."""
        pid = self._stage.system.pid(name)
        if pid is None:
            return False
        try:
            return time.time() - psutil.Process(pid).create_time() > SILENT_SECONDS
        except psutil.NoSuchProcess:
            return False

    def _ask_where(self, name: str) -> None:
        pid = self._stage.system.pid(name)
        if pid is None:
            return
        with suppress(psutil.Error, OSError):
            for process in (psutil.Process(pid), *psutil.Process(pid).children()):
                os.kill(process.pid, signal.SIGUSR2)
