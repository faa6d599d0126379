"""A batch of small jobs against as many that belong to none: end to end, with a callback at the end."""

from uuid import uuid4

from rich.console import Console
from sqlalchemy import text

from app.ids import new_id
from app.ledger.batches import Batch, enqueue_batch
from bench.report import Result
from bench.servers import servers
from bench.throughput import TABLES, Ours, measure, running
from bench.throughput_row import CREATE

JOBS = 5000
WARM_UP_JOBS = 600
ROUNDS = 5
WINDOW = 64


class Batched(Ours):
    """Jobs with or without a batch, and the batch with or without a window."""

    kind = "InsertRow"
    batched = False
    window: int | None = None

    def put(self, jobs: int) -> None:
        if not self.batched:
            super().put(jobs)
            return
        from bench.throughput_ours import InsertRow

        rows = [InsertRow(row_id=new_id(), name="a row") for _ in range(jobs)]
        with self.engine.begin() as tx:
            enqueue_batch(tx, uuid4(), Batch(jobs=rows, window=self.window))

    def rate(self, jobs: int, *, batched: bool, window: int | None = None) -> float:
        """Jobs per second."""
        self.batched, self.window = batched, window
        return measure(self, jobs)[0]


def run() -> Result:
    with servers() as (system, engine):
        with engine.begin() as tx:
            tx.execute(CREATE)
            tx.execute(text(f"TRUNCATE {TABLES}, waiting, batches, batch_shards"))
        side = Batched(system, engine)
        with running(side):
            runs, windowed = _rounds(side)
    return Result(
        name="batch",
        unit="jobs/s",
        goal=0.8,
        baseline_is="the same jobs without a batch",
        runs=runs,
        notes={"jobs": JOBS, f"ratio_with_a_window_of_{WINDOW}": windowed},
    )


def _rounds(side: Batched) -> tuple[list[tuple[float, float]], list[float]]:
    """The rates of each round, and the ratios with a window."""
    runs: list[tuple[float, float]] = []
    windowed: list[float] = []
    for batched in (False, True):
        side.rate(WARM_UP_JOBS, batched=batched)
    for number in range(ROUNDS):
        order = (True, False) if number % 2 == 0 else (False, True)
        rates = {batched: side.rate(JOBS, batched=batched) for batched in order}
        runs.append((rates[True], rates[False]))
        narrow = side.rate(JOBS, batched=True, window=WINDOW)
        windowed.append(round(narrow / rates[False], 3))
        Console().print(
            f"round {number + 1}: {rates[True]:,.0f} against {rates[False]:,.0f} jobs/s,"
            f" {narrow:,.0f} with a window"
        )
    return runs, windowed
