"""Time and memory that each reader takes for a million clean rows, in its own form of table.

`python -m bench.csv_readers_speed READER FILE` is one measurement: it prints seconds and bytes.
"""

import csv
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from infra.local.layout import ROOT
from tests.corpus.dialect import COMMA
from tests.corpus.tables import contacts

ROWS = 1_000_000
ROUNDS = 5
BLOCK = 1000
SECONDS = 300


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one reader: seconds, and bytes beyond what it took before it opened the file."""

    seconds: float
    grown: int
    says: str


def _millrace(path: str) -> int:
    detect = import_module("app.tabular.detect")
    with Path(path).open("rb") as file:
        return sum(len(batch.records) for batch in detect.open_table(file).batches())


def _csv(path: str) -> int:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return sum(1 for _ in csv.reader(file)) - 1


def _duckdb(path: str) -> int:
    connection = import_module("duckdb").connect()
    reader = connection.read_csv(path, all_varchar=True).to_arrow_reader()
    return sum(batch.num_rows for batch in reader)


def _pandas(path: str) -> int:
    return len(import_module("pandas").read_csv(path, dtype=str, keep_default_na=False))


def _polars(path: str) -> int:
    return int(import_module("polars").read_csv(path, infer_schema=False).height)


def _pyarrow(path: str) -> int:
    with import_module("pyarrow.csv").open_csv(path) as reader:
        return sum(batch.num_rows for batch in reader)


def _clevercsv(path: str) -> int:
    clevercsv = import_module("clevercsv")
    return sum(1 for _ in clevercsv.stream_table(path, num_chars=10_000)) - 1


READERS: Mapping[str, tuple[str, str, Callable[[str], int]]] = {
    "csv": ("Python's csv, no detection", "lists of text, streamed", _csv),
    "millrace": ("Millrace", "lists of text, streamed", _millrace),
    "duckdb": ("DuckDB", "Arrow batches, streamed", _duckdb),
    "pandas": ("pandas", "a data frame", _pandas),
    "polars": ("Polars", "a data frame", _polars),
    "pyarrow": ("pyarrow", "Arrow batches, streamed", _pyarrow),
    "clevercsv": (
        "clevercsv, detecting in 10,000 characters",
        "lists of text, streamed",
        _clevercsv,
    ),
}
MODULES = {"millrace": "app.tabular.detect", "pyarrow": "pyarrow.csv"}


def measure(peers: Path) -> dict[str, Cost]:
    """Each one's quickest of some rounds in which the readers take turns: whoever else uses the machine only adds."""
    runs: dict[str, list[Cost]] = {name: [] for name in READERS}
    with TemporaryDirectory() as folder:
        path = Path(folder, "contacts.csv")
        _write(path)
        for _ in range(ROUNDS):
            for name in READERS:
                cost = _once(name, path, peers)
                if cost is not None:
                    runs[name].append(cost)
    return {
        name: Cost(
            min(cost.seconds for cost in costs),
            round(median(cost.grown for cost in costs)),
            READERS[name][1],
        )
        for name, costs in runs.items()
        if costs
    }


def _write(path: Path) -> None:
    """Blocks of rows that differ in their first cell only: the reader can't tell, and it is quick."""
    table = contacts(BLOCK)
    block = "".join(f"{line}\n" for line in COMMA.lines(table.rows))
    with path.open("w", encoding="utf-8") as file:
        file.write(COMMA.line(table.header) + "\n")
        for number in range(ROWS // BLOCK):
            file.write(block.replace("@example.org", f".{number}@example.org"))


def _once(name: str, path: Path, peers: Path) -> Cost | None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.csv_readers_speed", name, str(path)],
        env={**os.environ, "PYTHONPATH": "" if name in {"millrace", "csv"} else str(peers)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        print(f"{name} failed: {done.stderr[-500:]}")
        return None
    facts = json.loads(done.stdout)
    assert facts["rows"] == ROWS, facts
    return Cost(facts["seconds"], facts["grown"], READERS[name][1])


def main(name: str, path: str) -> None:
    import_module(MODULES.get(name, name))
    before = _peak()
    began = time.perf_counter()
    rows = READERS[name][2](path)
    seconds = time.perf_counter() - began
    print(json.dumps({"rows": rows, "seconds": seconds, "grown": _peak() - before}))


def _peak() -> int:
    """Most memory so far, in bytes. Linux's getrusage would begin with what the parent had."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
