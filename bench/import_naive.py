"""Import against what most applications do: read the file, upsert a hundred rows, commit, and so on.

The usual pattern runs in this process with SQLAlchemy, over a part of the same rows, into a table of the
same shape; ours is the whole way through the API. Both are rates, so the parts compare.
"""

import csv
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from uuid import UUID

from rich.console import Console
from sqlalchemy import Engine, MetaData, Table, func, text
from sqlalchemy.dialects.postgresql import insert

from app.ids import new_id
from bench.import_stage import Stage, checkpoint, sample, stage, timed_import
from bench.report import Result

ROWS = 1_000_000
NAIVE_ROWS = 20_000
BATCH = 100
ROUNDS = 3


def run() -> Result:
    """The ratio of rates."""
    console = Console()
    runs: list[tuple[float, float]] = []
    with stage() as on:
        part, whole = sample(NAIVE_ROWS), sample(ROWS)
        for number in range(ROUNDS):
            naive = NAIVE_ROWS / _naive(on, part)
            on.empty()
            with on.client() as client:
                ours = ROWS / timed_import(client, whole, ROWS).seconds
            runs.append((ours, naive))
            console.print(f"round {number + 1}: {ours:,.0f} against {naive:,.0f} rows/s")
    return Result(
        name="import_naive",
        unit="rows/s",
        goal=20.0,
        baseline_is=f"csv.DictReader, SQLAlchemy, batches of {BATCH}, one commit each",
        runs=runs,
        notes={"rows": ROWS, "baseline_rows": NAIVE_ROWS},
    )


def _naive(on: Stage, path: Path) -> float:
    on.empty()
    with on.engine.begin() as tx:
        tx.execute(text("CREATE TABLE bench_contacts (LIKE contacts INCLUDING ALL)"))
    checkpoint(on.system.postgres)
    table = Table("bench_contacts", MetaData(), autoload_with=on.engine)
    began = time.perf_counter()
    with path.open(newline="", encoding="utf-8") as file:
        for rows in _batches(csv.DictReader(file), BATCH):
            _upsert(on.engine, table, UUID(on.tenant.id), rows)
    return time.perf_counter() - began


def _upsert(engine: Engine, table: Table, tenant: UUID, rows: list[dict[str, str]]) -> None:
    new = insert(table).values(
        [
            {
                "id": new_id(),
                "tenant_id": tenant,
                "email": row["email"].strip().lower(),
                "first_name": row["first_name"],
                "last_name": row["last_name"],
                "company": row["company"],
                "phone": row["phone"],
                "attributes": {"plan": row["plan"]},
            }
            for row in rows
        ]
    )
    names = ("first_name", "last_name", "company", "phone", "attributes")
    with engine.begin() as tx:
        tx.execute(
            new.on_conflict_do_update(
                index_elements=["tenant_id", "email"],
                set_={**{name: new.excluded[name] for name in names}, "updated_at": func.now()},
            )
        )


def _batches(rows: Iterator[dict[str, str]], size: int) -> Iterator[list[dict[str, str]]]:
    while batch := list(islice(rows, size)):
        yield batch
