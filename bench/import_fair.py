"""Does a large import hold up a small one? A 1,000-row import of another tenant, alone and beside 1,000,000 rows.

Ours is how many such imports a minute end beside the large one, the baseline how many end undisturbed.
"""

import threading
from statistics import median

from rich.console import Console

from bench.import_stage import Stage, sample, stage, timed_import
from bench.report import Result
from infra.local.tenant import Tenant

LARGE_ROWS = 1_000_000
SMALL_ROWS = 1_000
SMALL_IMPORTS = 5
ROUNDS = 2


def run() -> Result:
    """The ratio of rates: 0.33 means three times as long."""
    console = Console()
    runs: list[tuple[float, float]] = []
    with stage() as on:
        other = on.another_tenant("bench-second")
        sample(LARGE_ROWS)
        _small(on, other)  # warms caches
        for number in range(ROUNDS):
            alone = median(_small(on, other) for _ in range(SMALL_IMPORTS))
            beside = _beside(on, other)
            runs.append((60 / beside, 60 / alone))
            console.print(f"round {number + 1}: {beside:.2f} s beside, {alone:.2f} s alone")
    return Result(
        name="import_fair",
        unit="imports/min",
        goal=round(1 / 3, 3),
        baseline_is="the same 1,000-row import, undisturbed",
        runs=runs,
        notes={"large_rows": LARGE_ROWS, "small_rows": SMALL_ROWS},
    )


def _beside(on: Stage, other: Tenant) -> float:
    """Median seconds of small imports, each begun and ended while the large one runs."""
    ended = threading.Event()
    failures: list[BaseException] = []

    def large() -> None:
        try:
            with on.client() as client:
                timed_import(client, sample(LARGE_ROWS), LARGE_ROWS)
        except BaseException as failure:  # noqa: BLE001
            failures.append(failure)
        finally:
            ended.set()

    on.empty()
    thread = threading.Thread(target=large, daemon=True)
    thread.start()
    ended.wait(4)  # the upload is over, and the import under way
    seconds: list[float] = []
    while not ended.is_set():
        took = _small(on, other)
        if not ended.is_set():
            seconds.append(took)
    thread.join()
    if failures:
        raise failures[0]
    return median(seconds)


def _small(on: Stage, tenant: Tenant) -> float:
    with on.engine.begin() as tx:
        tx.exec_driver_sql("DELETE FROM contacts WHERE tenant_id = %s", (tenant.id,))
    with on.client(tenant) as client:
        return timed_import(client, sample(SMALL_ROWS), SMALL_ROWS).seconds
