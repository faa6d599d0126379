"""What a campaign came to: figures for people, one JSON line for machines."""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.table import Table

from tests.chaos.checks import PROMISES, Violation
from tests.chaos.history import History
from tests.chaos.journal import Blow, Journal
from tests.chaos.recovery import Recovery, felt_for

LONG_SECONDS = 5.0
SHOWN = 12
"""Violations of each promise that are shown whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A finished campaign. `jobs` counts the orders, `ledger_jobs` every job that came of them."""

    seed: int
    breaking: str
    jobs: int
    ledger_jobs: int
    seconds: float
    journal: Journal
    history: History
    violations: list[Violation]
    recoveries: dict[str, Recovery]
    left_out: dict[str, str] = field(default_factory=dict)
    """Kinds of fault that could not be had here, and why."""

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations

    def count(self, promise: str) -> int:
        return sum(one.promise == promise for one in self.violations)

    def as_json(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            **({"break": self.breaking} if self.breaking else {}),
            "jobs": self.jobs,
            "ledger_jobs": self.ledger_jobs,
            "faults": len(self.journal.blows),
            "missed": len(self.journal.missed),
            "left_out": sorted(self.left_out),
            **{promise: self.count(promise) for promise in PROMISES},
            "rescued": dict(self.history.rescues),
            "repeats": self.journal.repeats,
            "seconds": round(self.seconds, 1),
            "recovery_s": {kind: asdict(one) for kind, one in self.recoveries.items()},
        }

    def as_line(self) -> str:
        return json.dumps(self.as_json())


def details(result: Result) -> str:
    """A JSON line for each fault, in the order in which they ended; for one that was felt long, with the
    histories of the jobs that it struck.
    """
    lines = [
        {
            **asdict(blow.fault),
            "began": round(blow.began - result.journal.began, 2),
            "ended": round(blow.ended - result.journal.began, 2),
            "whole": blow.whole,
            "jobs": [str(job_id) for job_id in blow.jobs],
            "felt_s": (felt := felt_for(result.history, result.journal, blow)),
            **(
                {"histories": _histories(result, blow)}
                if max(felt, default=0) > LONG_SECONDS
                else {}
            ),
        }
        for blow in result.journal.blows
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


def _histories(result: Result, blow: Blow) -> dict[str, list[str]]:
    return {str(job): [str(event) for event in result.history.of(job)] for job in blow.jobs}


def show(result: Result, console: Console) -> None:
    """The tables, then what is broken."""
    console.print(_faults(result))
    for kind, why in result.left_out.items():
        console.print(f"left out: {kind}: {why}", markup=False)
    for fault, why in result.journal.missed:
        console.print(f"missed: {fault.kind} of {fault.target}: {why}", markup=False)
    if result.kept:
        console.print("every promise was kept")
    for promise in PROMISES:
        broken = [one for one in result.violations if one.promise == promise]
        for one in broken[:SHOWN]:
            console.print(f"{promise}: {one.what}", markup=False, soft_wrap=True)
            _show_history(result, one.job_id, console)
        if len(broken) > SHOWN:
            console.print(f"{promise}: ... and {len(broken) - SHOWN} more")


def _faults(result: Result) -> Table:
    table = Table(title=f"seed {result.seed}: {result.jobs:,} orders, {result.ledger_jobs:,} jobs")
    for heading in ("fault", "struck", "measured until", "median s", "max s", "alone, max s"):
        table.add_column(
            heading, justify="left" if heading in {"fault", "measured until"} else "right"
        )
    for kind, count in sorted(Counter(blow.fault.kind for blow in result.journal.blows).items()):
        felt = result.recoveries.get(kind)
        figures = [felt.measured, f"{felt.median:.2f}", f"{felt.max:.2f}"] if felt else ["", "", ""]
        alone = f"{felt.alone:.2f}" if felt and felt.alone is not None else ""
        table.add_row(kind, str(count), *figures, alone)
    return table


def _show_history(result: Result, job_id: UUID | None, console: Console) -> None:
    if job_id is None:
        return
    console.print(f"  job {job_id}", markup=False)
    for event in result.history.of(job_id):
        console.print(f"    {event}", markup=False)
    for blow in result.journal.blows:
        if job_id in blow.jobs:
            words = f"    {blow.began:.3f} struck by: {blow.fault.kind} of {blow.fault.target}"
            console.print(words, markup=False)
