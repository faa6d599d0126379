"""What reading gives: some records, and what is wrong with a few of them."""

from dataclasses import dataclass, field
from typing import NamedTuple

from app.tabular.regular import Records


class Problem(NamedTuple):
    """Why a record can't be taken as it is; its cells are what could be read."""

    code: str
    message: str


@dataclass(slots=True)
class Batch:
    """Consecutive records, blank ones as empty lists so that the numbering holds."""

    first_row: int
    """Number of `records[0]`."""
    records: Records
    problems: dict[int, Problem] = field(default_factory=dict)
    """By index in `records`."""
    end: int = 0
    """Byte offset in the source where the batch ends (rangeable), else source bytes consumed."""
    repaired: int = 0
    """How many records were damaged and could be read all the same."""
    start: int = 0
    """Byte offset in the source where the batch begins (rangeable)."""
