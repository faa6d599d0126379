"""A chunk's records on their way to the cleaner; those of a retry are first brought back to what they were."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Protocol

from app.imports.cleaning import Cleaned, Cleaner, Reject
from app.imports.lifecycle import OpenImport
from app.imports.rejected import Rejected, facts_of
from app.imports.retrying import RetryReader
from app.imports.rows import Read
from app.tabular.batch import Batch

__all__ = ["CleanChunk", "Read", "Reader", "clean_chunk", "make_cleaner", "make_reader"]

Find = Callable[[Sequence[int]], Mapping[int, Rejected]]


class Reader(Protocol):
    """Makes of a batch as it stands in the file what is to be cleaned."""

    def read(self, batch: Batch) -> Read:
        """The records that hold values."""


class _AsItIs:
    def read(self, batch: Batch) -> Read:
        return Read(batch)


@dataclass(slots=True)
class CleanChunk:
    """A chunk's rows, cleaned, and all that is rejected so far with what a retry must know of it."""

    cleaned: Cleaned
    rejects: list[Reject] = field(default_factory=list)
    facts: list[Rejected] = field(default_factory=list)
    total: int = 0

    def refuse(self, rejects: Iterable[Reject]) -> None:
        """Add rows that the target refuses because of what is there already."""
        more = list(rejects)
        if more:
            self.rejects = sorted([*self.rejects, *more], key=attrgetter("row_number"))
            self.facts += [Rejected(reject.row_number, len(reject.cells)) for reject in more]


def make_cleaner(source: OpenImport) -> Cleaner:
    """For the rows of this import."""
    return Cleaner(source.target, source.columns, source.fields, source.options.values())


def make_reader(source: OpenImport, cleaner: Cleaner, find: Find) -> Reader:
    """For the file of this import; `find` looks up rejected rows of the one that it repeats, by number."""
    if source.retry_of is None or source.layout is None:
        return _AsItIs()
    return RetryReader(source.layout.columns, cleaner, find, as_they_were=source.source == "retry")


def clean_chunk(
    reader: Reader, cleaner: Cleaner, batches: Iterable[Batch], superseded: Mapping[int, int]
) -> CleanChunk:
    """Clean all of a chunk. Rows are numbered as the caller knows them: a retry's as in the first file."""
    parts: list[Cleaned] = []
    rejects: list[Reject] = []
    facts: list[Rejected] = []
    total = 0
    for batch in batches:
        read = reader.read(batch)
        duplicates = {**superseded, **read.duplicates} if read.duplicates else superseded
        cleaned = cleaner.clean(read.batch, duplicates)
        about = facts_of(cleaned.rejects, read.batch, duplicates, cleaner)
        total += cleaned.total + len(read.refused)
        facts += [*read.renumbered(about), *read.facts]
        cleaned.rejects = list(read.renumbered(cleaned.rejects))
        cleaned.rows = read.numbered(cleaned.rows)
        rejects += cleaned.rejects + read.refused
        parts.append(cleaned)
    whole = Cleaned.joined(parts) if parts else cleaner.clean(Batch(1, []), {})
    rejects.sort(key=attrgetter("row_number"))
    return CleanChunk(whole, rejects, facts, total)
