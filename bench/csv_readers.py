"""Which reader of CSV sees in odd files what a careful person sees.

Every file of tests/corpus goes to every reader, in a process of its own that is ended when it hangs,
and a judge compares what came out with what was meant, cell by cell. Then each reads a clean file of a
million rows. Writes bench/out/csv_readers/READER.json and the tables in docs/csv-readers.md.
"""

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table as Printed

from bench.csv_readers_page import write_page
from bench.csv_readers_peers import READERS
from bench.csv_readers_scores import Judged, Score, scores, total
from bench.csv_readers_speed import measure
from bench.report import OUT, Result
from infra.local.layout import ROOT
from infra.local.locked import packages
from tests.corpus.case import Case
from tests.corpus.generate import corpus
from tests.corpus.judge import Outcome, judge

SECONDS = 20
"""A file of the corpus that takes longer counts as a hang."""


@dataclass(slots=True)
class Reader:
    """A reader's process, started again when a file killed it."""

    name: str
    packages: Path
    process: subprocess.Popen[bytes] | None = None
    pending: bytes = b""

    def read(self, path: Path) -> Outcome:
        process = self.process or self._start()
        assert process.stdin is not None
        try:
            process.stdin.write(f"{path}\n".encode())
            process.stdin.flush()
            line = self._answer(process)
        except OSError:
            line = None
        if line is None:
            died = process.poll()
            self.stop()
            reason = "hung" if died is None else f"died with {died}"
            return Outcome(refused=reason, failed=True)
        facts = json.loads(line)
        return Outcome(**{**facts, "flagged": frozenset(facts["flagged"])})

    def _start(self) -> subprocess.Popen[bytes]:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.csv_readers_worker", self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": "" if self.name == "millrace" else str(self.packages)},
        )
        self.pending = b""
        return self.process

    def _answer(self, process: subprocess.Popen[bytes]) -> bytes | None:
        """A line; None when the process ended or takes too long."""
        assert process.stdout is not None
        deadline = time.monotonic() + SECONDS
        with selectors.DefaultSelector() as waiting:
            waiting.register(process.stdout, selectors.EVENT_READ)
            while b"\n" not in self.pending:
                if not waiting.select(max(0, deadline - time.monotonic())):
                    return None
                block = os.read(process.stdout.fileno(), 1 << 20)
                if not block:
                    process.wait()
                    return None
                self.pending += block
        line, _, self.pending = self.pending.partition(b"\n")
        return line

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@contextmanager
def files() -> Iterator[list[tuple[Case, Path]]]:
    """The corpus on disk, where most peers want it."""
    with TemporaryDirectory() as folder:
        made = []
        for case in corpus():
            path = Path(folder, case.filename)
            path.write_bytes(case.data)
            made.append((case, path))
        yield made


def judged(name: str, cases: Sequence[tuple[Case, Path]], peers: Path) -> list[Judged]:
    reader = Reader(name, peers)
    try:
        return [_judged(reader, case, path) for case, path in cases]
    finally:
        reader.stop()


def _judged(reader: Reader, case: Case, path: Path) -> Judged:
    outcome = reader.read(path)
    return Judged(case, judge(case, outcome), failed=outcome.failed)


def run() -> Result:
    peers = packages("bench")
    console = Console()
    found: dict[str, Mapping[str, Score]] = {}
    with files() as cases:
        for name, (title, _) in READERS.items():
            verdicts = judged(name, cases, peers)
            found[name] = scores(verdicts)
            _write(name, title, verdicts)
            console.print(f"{title}: {total(found[name]).right} of {len(cases)} files right")
    _print(console, found)
    costs = measure(peers)
    write_page(found, costs)
    return _result(found)


def _write(name: str, title: str, verdicts: Sequence[Judged]) -> None:
    folder = Path(OUT, "csv_readers")
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        "reader": title,
        "kinds": {kind: score.as_facts() for kind, score in scores(verdicts).items()},
        "files": {one.case.filename: one.as_facts() for one in verdicts},
    }
    text = json.dumps(facts, indent=1, ensure_ascii=True)
    (folder / f"{name}.json").write_text(text + "\n")


def _print(console: Console, found: Mapping[str, Mapping[str, Score]]) -> None:
    for name, kinds in found.items():
        table = Printed(
            *("kind", "files", "right", "header", "records P", "R", "cells P", "R"),
            *("neighbours", "refused", "failed"),
            title=READERS[name][0],
        )
        for kind, score in {**kinds, "all": total(kinds)}.items():
            table.add_row(kind, *score.as_row())
        console.print(table)


def _result(found: Mapping[str, Mapping[str, Score]]) -> Result:
    right = {name: total(kinds).right for name, kinds in found.items()}
    best = max((name for name in right if name != "millrace"), key=lambda name: right[name])
    return Result(
        name="csv_readers",
        unit="files right",
        goal=1.0,
        baseline_is=f"the best of the others: {READERS[best][0]}",
        runs=[(right["millrace"], right[best])],
        notes={
            "files": total(found["millrace"]).files,
            "right": {READERS[name][0]: count for name, count in right.items()},
        },
    )
