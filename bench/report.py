"""What a benchmark says: a table for a person, JSON for a machine."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

OUT = "bench/out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Each run pairs one figure of ours with one of the baseline's; the ratio is the median of the pairs'.

    `notes` are further figures that belong beside the ratio. Machines are noisy: read the ratio.
    """

    name: str
    unit: str
    goal: float
    baseline_is: str
    runs: Sequence[tuple[float, float]]
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        return median(ours / baseline for ours, baseline in self.runs)

    @property
    def met(self) -> bool:
        return self.ratio >= self.goal and not self.notes.get("broken")

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        facts = {
            "name": self.name,
            "ours": round(median(ours for ours, _ in self.runs), 1),
            "baseline": round(median(baseline for _, baseline in self.runs), 1),
            "unit": self.unit,
            "ratio": round(self.ratio, 3),
            "goal": self.goal,
            "baseline_is": self.baseline_is,
            "runs": [{"ours": round(o, 1), "baseline": round(b, 1)} for o, b in self.runs],
            **self.notes,
        }
        (folder / f"{self.name}.json").write_text(json.dumps(facts, indent=2) + "\n")


def print_table(results: Sequence[Result]) -> None:
    table = Table("benchmark", "ours", "baseline", "unit", "ratio", "goal", "baseline is")
    for result in results:
        ours = median(o for o, _ in result.runs)
        baseline = median(b for _, b in result.runs)
        table.add_row(
            result.name,
            f"{ours:,.0f}",
            f"{baseline:,.0f}",
            result.unit,
            f"[{'green' if result.met else 'red'}]{result.ratio:.2f}",
            f"{result.goal:.2f}",
            result.baseline_is,
        )
    console = Console()
    console.print(table)
    for result in results:
        for name, value in result.notes.items():
            console.print(f"  {name}: {value}", highlight=False)
