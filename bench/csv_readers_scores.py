"""Verdicts added up by kind of oddity."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from tests.corpus.case import Case
from tests.corpus.judge import Verdict


@dataclass(frozen=True, slots=True)
class Judged:
    case: Case
    verdict: Verdict
    failed: bool

    def as_facts(self) -> dict[str, Any]:
        return {"kind": self.case.kind, "failed": self.failed, **asdict(self.verdict)}


@dataclass(frozen=True, slots=True)
class Mean:
    """Of a rate over files: a large file counts no more than a small one."""

    sum: float = 0.0
    files: int = 0

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, int]]) -> "Mean":
        """Parts of wholes; empty wholes don't count."""
        rates = [part / whole for part, whole in pairs if whole]
        return cls(sum(rates), len(rates))

    def __add__(self, other: "Mean") -> "Mean":
        return Mean(self.sum + other.sum, self.files + other.files)

    def __str__(self) -> str:
        return f"{self.sum / self.files:.1%}" if self.files else "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    files: int = 0
    right: int = 0
    tables: int = 0
    """Files that hold a table; what follows is about these."""
    header: int = 0
    with_neighbours: int = 0
    neighbours: int = 0
    refused: int = 0
    failed: int = 0
    record_precision: Mean = Mean()
    record_recall: Mean = Mean()
    cell_precision: Mean = Mean()
    cell_recall: Mean = Mean()

    def as_facts(self) -> dict[str, Any]:
        means = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: str(value) if isinstance(value, Mean) else value for name, value in means.items()
        }

    def as_row(self) -> tuple[str, ...]:
        return (
            str(self.files),
            _percent(self.right, self.files),
            _percent(self.header, self.tables),
            str(self.record_precision),
            str(self.record_recall),
            str(self.cell_precision),
            str(self.cell_recall),
            _percent(self.neighbours, self.with_neighbours),
            str(self.refused),
            str(self.failed),
        )

    def __add__(self, other: "Score") -> "Score":
        sums = {
            each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)
        }
        return Score(**sums)


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def scores(verdicts: Sequence[Judged]) -> dict[str, Score]:
    """A score for each kind, in the order of the corpus."""
    kinds: dict[str, list[Judged]] = {}
    for one in verdicts:
        kinds.setdefault(one.case.kind, []).append(one)
    return {kind: _score(members) for kind, members in kinds.items()}


def total(kinds: Mapping[str, Score]) -> Score:
    return sum(kinds.values(), Score())


def _score(members: Sequence[Judged]) -> Score:
    tables = [one for one in members if one.case.readings]
    found = [one.verdict for one in tables]
    return Score(
        files=len(members),
        right=sum(one.verdict.right for one in members),
        tables=len(tables),
        header=sum(verdict.header for verdict in found),
        with_neighbours=sum(verdict.neighbours is not None for verdict in found),
        neighbours=sum(verdict.neighbours is True for verdict in found),
        refused=sum(one.verdict.note.startswith("refused") and not one.failed for one in tables),
        failed=sum(one.failed for one in members),
        record_precision=Mean.of((one.records_matched, one.records_given) for one in found),
        record_recall=Mean.of((one.records_matched, one.records_meant) for one in found),
        cell_precision=Mean.of((one.cells_matched, one.cells_given) for one in found),
        cell_recall=Mean.of((one.cells_matched, one.cells_meant) for one in found),
    )
