"""What a worker counts: its children on their rows of a shared board, the main process from there.

Nothing here can fail a job: without a board, as in tests and tools, nothing is counted.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.ledger.store import Claimed
from app.metrics import declared
from app.metrics.board import Board, Row, each
from app.metrics.declared import Metric, Process, Type

ENDED = frozenset({"done", "cancel", "dead"})
FRUITLESS = ("lost_lease", "nothing_to_claim", "given_back")
OUTCOMES = (*sorted(ENDED), "retry", "snooze", *FRUITLESS)
ROW_RESULTS = ("inserted", "updated", "unchanged", "rejected")
SPARE_ROWS = 8
"""For a pool that an operator lets grow."""

SINCE = Metric(
    Process.WORKER, Type.GAUGE, "busy_since", "The message's begin; 0: the child is idle."
)
PID = Metric(Process.WORKER, Type.GAUGE, "pid", "Of the child.")
BUSY = Metric(Process.WORKER, Type.COUNTER, "busy", "Seconds of messages that have ended.")
STARTED = Metric(Process.WORKER, Type.COUNTER, "started", "Children that had the row.")


@dataclass(slots=True)
class _Here:
    """The row of the process, and the queue of each kind."""

    row: Row | None = None
    queues: Mapping[str, str] = field(default_factory=dict)


_here = _Here()


def make_board(queues: Mapping[str, str], *, children: int) -> Board:
    """For a pool of so many children, and jobs of these kinds (kind -> queue). The last row is the main
    process's own.
    """
    kinds = sorted(queues.items())
    jobs: dict[Metric, list[tuple[str, ...]]] = {
        declared.ATTEMPTS: [(*kind, outcome) for kind in kinds for outcome in OUTCOMES],
        declared.TIMEOUTS: [(*kind, limit) for kind in kinds for limit in ("soft", "hard")],
        declared.WAIT_SECONDS: [*kinds],
        declared.RUN_SECONDS: [*kinds],
        declared.TRIES: [*kinds],
        declared.IMPORT_ROWS: each(ROW_RESULTS),
    }
    own = {metric: [()] for metric in (SINCE, PID, BUSY, STARTED)}
    return Board(children + SPARE_ROWS + 1, {**jobs, **own})


def begin_child(board: Board, index: int, queues: Mapping[str, str]) -> None:
    """From now on this process counts on that row. Its last holder may have been killed at work."""
    row = board.row(index % (board.rows - 1))
    _here.row, _here.queues = row, queues
    since = row.get(SINCE)
    if since:
        row.add(BUSY, amount=max(0.0, time.monotonic() - since))
    row.set(SINCE, 0.0)
    row.set(PID, float(os.getpid()))
    row.add(STARTED)


def begin_main(board: Board, queues: Mapping[str, str]) -> None:
    """The main process counts what no child lives to count."""
    _here.row, _here.queues = board.row(board.rows - 1), queues


def stop() -> None:
    """Nothing is counted from now on."""
    _here.row = None


def message_begins() -> None:
    """The child is busy."""
    if _here.row is not None:
        _here.row.set(SINCE, time.monotonic())


def message_ends() -> None:
    """The child is idle."""
    row = _here.row
    if row is not None:
        since = row.get(SINCE)
        row.set(SINCE, 0.0)
        row.add(BUSY, amount=max(0.0, time.monotonic() - since))


def settled(job: Claimed, outcome: str, seconds: float) -> None:
    """An attempt was claimed, run and settled, in so many seconds."""
    row = _here.row
    if row is None:
        return
    kind, queue = job.kind, job.queue
    row.add(declared.ATTEMPTS, kind, queue, outcome)
    row.observe(declared.RUN_SECONDS, seconds, kind, queue)
    if job.waited_seconds is not None:
        row.observe(declared.WAIT_SECONDS, max(0.0, job.waited_seconds), kind, queue)
    if outcome in ENDED:
        row.observe(declared.TRIES, float(job.attempt), kind, queue)


def fruitless(kind: str, outcome: str) -> None:
    """A delivery that settled nothing."""
    if _here.row is not None:
        _here.row.add(declared.ATTEMPTS, kind, _here.queues.get(kind, ""), outcome)


def timed_out(kind: str, limit: str) -> None:
    """A soft limit, or a hard one."""
    if _here.row is not None:
        _here.row.add(declared.TIMEOUTS, kind, _here.queues.get(kind, ""), limit)


def count(metric: Metric, amounts: Mapping[str, float]) -> None:
    """Add to a counter with one label."""
    if _here.row is not None:
        for label, amount in amounts.items():
            _here.row.add(metric, label, amount=amount)
