"""Records that are ready to be cleaned, and what was said about them before."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from app.imports.cleaning import Reject
from app.imports.rejected import Rejected
from app.tabular.batch import Batch

Numbered = TypeVar("Numbered", Reject, Rejected)


@dataclass(slots=True)
class Read:
    """A batch with the columns that hold values. Of a retry, `numbers` has each record's number in the
    first file, `duplicates` maps records (by the batch's own numbers) to the rows that have their key,
    and `refused` are records that aren't imported, blank in the batch; `facts` is about some of those.
    """

    batch: Batch
    numbers: Sequence[int] | None = None
    duplicates: dict[int, int] = field(default_factory=dict)
    refused: list[Reject] = field(default_factory=list)
    facts: list[Rejected] = field(default_factory=list)

    def numbered(self, rows: list[int]) -> list[int]:
        """Row numbers as people know them."""
        if self.numbers is None:
            return rows
        first = self.batch.first_row
        return [self.numbers[row - first] for row in rows]

    def renumbered(self, rows: Iterable[Numbered]) -> Iterable[Numbered]:
        """The same for rejected rows."""
        if self.numbers is None:
            return rows
        first, numbers = self.batch.first_row, self.numbers
        return [row._replace(row_number=numbers[row.row_number - first]) for row in rows]
