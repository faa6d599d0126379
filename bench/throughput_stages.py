"""Where a child's time goes: from one task to the next, and inside each.

Off in the rounds that are compared; a further round writes it down, on both sides alike.
"""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from celery.signals import task_postrun, task_prerun

FOLDER = "BENCH_STAGES"
"""The variable that names the folder for the records; without it nothing is recorded."""


class Stages:
    """The moments of each task of this process: begun, handler entered, handler left, ended."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._moments: list[float] = []
        self._done: list[list[float]] = []

    @contextmanager
    def handler(self) -> Iterator[None]:
        self._moments.append(time.perf_counter())
        yield
        self._moments.append(time.perf_counter())

    def begin(self, **_: Any) -> None:
        self._moments = [time.perf_counter()]

    def end(self, **_: Any) -> None:
        self._done.append([*self._moments, time.perf_counter()])
        if self._folder is not None and len(self._done) % 100 == 0:
            (self._folder / f"{os.getpid()}.json").write_text(json.dumps(self._done))


def record_stages() -> Stages:
    folder = os.environ.get(FOLDER)
    stages = Stages(Path(folder) if folder else None)
    if folder:
        task_prerun.connect(stages.begin, weak=False)
        task_postrun.connect(stages.end, weak=False)
    return stages


def medians(folder: Path) -> dict[str, int]:
    """Microseconds of a child's wall-clock time per task, each the median over all tasks."""
    spans: list[tuple[float, ...]] = []
    for file in folder.glob("*.json"):
        spans.extend(_spans(json.loads(file.read_text())))
    before, handler, after, between = zip(*spans, strict=True)
    return {
        "before_handler": round(median(before) * 1e6),
        "handler": round(median(handler) * 1e6),
        "after_handler": round(median(after) * 1e6),
        "until_next_task": round(median(between) * 1e6),
    }


def _spans(tasks: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
    return [
        (entered - begun, left - entered, ended - left, after[0] - ended)
        for (begun, entered, left, ended), after in pairwise(tasks)
    ]
