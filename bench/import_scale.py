"""Does it stay flat? What a row costs at 10,000,000 rows against 100,000, and by how much processes grow.

Each run pairs the rate of the large import (ours) with the rate of small ones before and after it (baseline). A
2 GB file, imported as a dry run, is watched for growth too.
"""

from rich.console import Console

from bench.import_stage import memory, sample, stage, timed_import
from bench.report import Result

LARGE_ROWS = 10_000_000
SMALL_ROWS = 100_000
WIDE_ROWS = 1_000_000
WIDE_PADDING = 1_920
GROWTH_LIMIT_MB = 128


def run() -> Result:
    """The ratio of rates: 0.77 means that a row of the large file costs 1.3 times one of the small."""
    console = Console()
    growth: dict[str, dict[str, float]] = {}
    with stage() as on, on.client() as client:
        small, large = sample(SMALL_ROWS), sample(LARGE_ROWS)
        on.empty()
        timed_import(client, small, SMALL_ROWS)  # warms caches
        on.empty()
        before = SMALL_ROWS / timed_import(client, small, SMALL_ROWS).seconds
        on.empty()
        with memory(on.system) as grown:
            timed = timed_import(client, large, LARGE_ROWS)
        growth["10,000,000 rows"] = grown
        on.empty()
        after = SMALL_ROWS / timed_import(client, small, SMALL_ROWS).seconds
        console.print(
            f"10,000,000 rows in {timed.seconds:,.0f} s; {before:,.0f}, {after:,.0f} rows/s small"
        )
        on.empty()
        with memory(on.system) as grown:
            wide = timed_import(
                client, sample(WIDE_ROWS, padding=WIDE_PADDING), WIDE_ROWS, dry_run=True
            )
        growth["2 GB"] = grown
        on.empty()
    worst = max(mb for grown in growth.values() for mb in grown.values())
    rate = LARGE_ROWS / timed.seconds
    return Result(
        name="import_scale",
        unit="rows/s",
        goal=round(1 / 1.3, 3),
        baseline_is="the same import of 100,000 rows",
        runs=[(rate, (before + after) / 2)],
        notes={
            "first_progress_seconds_after_acceptance": round(timed.first - timed.accepted, 1),
            "upload_2gb_seconds": round(wide.accepted, 1),
            "memory_growth_mb": growth,
            "largest_growth_mb": worst,
            "broken": worst > GROWTH_LIMIT_MB,
        },
    )
