"""From cells to values: clean, validate, say why not. A column at a time.

What comes out depends on the row, the mapping and the options alone, never on how the file is cut.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress
from operator import attrgetter
from typing import NamedTuple

from app.imports.attributes import Attributes
from app.imports.storable import storable, unstorable
from app.imports.targets import Field, Target
from app.imports.values import Column, Fault, Parsed, ValueOptions
from app.plurals import counted
from app.tabular.records import Batch, Problem
from app.tabular.regular import Records, column_of, columns_of, have_width, joined, only

__all__ = ["Cleaned", "Cleaner", "Reject", "ValueOptions"]


class Reject(NamedTuple):
    """A row that can't be imported; `column` is None when the row as a whole is at fault.

    `cells` are the row's own, as far as text can hold them.
    """

    row_number: int
    column: str | None
    code: str
    message: str
    cells: list[str]


@dataclass(slots=True)
class Cleaned:
    """What a run of rows came to. `total` counts the rows that aren't blank.

    `columns[i]` has the values of `names[i]`, a column of the target's table, as COPY takes them: "" where
    the file says nothing. The key comes first.
    """

    names: tuple[str, ...]
    total: int = 0
    rows: list[int] = field(default_factory=list)
    columns: list[list[str]] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    records: Records = field(default_factory=list)
    key_column: str = ""

    @property
    def keys(self) -> list[str]:
        """The key of each row."""
        return self.columns[0]

    def reject(self, position: int, code: str, message: str) -> Reject:
        """The row at `position` as one that the target refuses, because of its key."""
        cells = list(map(storable, self.records[position]))
        return Reject(self.rows[position], self.key_column, code, message, cells)

    @classmethod
    def joined(cls, parts: Sequence["Cleaned"]) -> "Cleaned":
        """Several runs of one file as one, in their order."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            names=parts[0].names,
            total=sum(part.total for part in parts),
            rows=list(chain.from_iterable(part.rows for part in parts)),
            columns=[
                list(chain.from_iterable(runs))
                for runs in zip(*(part.columns for part in parts), strict=True)
            ],
            rejects=list(chain.from_iterable(part.rejects for part in parts)),
            records=joined(part.records for part in parts),
            key_column=parts[0].key_column,
        )


@dataclass(slots=True)
class _Shaped:
    """The rows that have a cell for each column, and those that haven't."""

    rows: list[int]
    records: Records
    rejects: list[Reject]


class Cleaner:
    """Cleans rows of one file; made once per chunk. `fields[i]` is the field of column i, or ""."""

    def __init__(
        self,
        target: Target,
        columns: Sequence[str],
        fields: Sequence[str],
        options: ValueOptions | None = None,
    ) -> None:
        self._columns = list(columns)
        self._width = len(self._columns)
        self._options = options or ValueOptions()
        positions = {name: index for index, name in enumerate(fields) if name}
        self._key = target.key_field
        self._key_index = positions[self._key.name]
        self._others = [
            (positions[one.name], one)
            for one in target.fields
            if one.name in positions and one is not self._key
        ]
        self._attributes = Attributes(columns, fields) if target.attributes else None
        extra = (target.attributes,) if self._attributes and target.attributes else ()
        self.names: tuple[str, ...] = (
            self._key.name,
            *(one.name for _, one in self._others),
            *extra,
        )

    def keys(self, batch: Batch) -> list[str]:
        """The normalized key of each record; "" where the record can win nothing: it is blank, of another
        width, or its key is missing or invalid.
        """
        index, records = self._key_index, batch.records
        if self._is_regular(batch):
            cells = column_of(records, index)
        else:
            cells = [
                record[index]
                if position not in batch.problems and len(record) > index and self._fits(record)
                else ""
                for position, record in enumerate(records)
            ]
        return self._parse(cells, self._key).values

    def clean(self, batch: Batch, duplicates: Mapping[int, int]) -> Cleaned:
        """Clean a batch. `duplicates` maps the number of a row to that of the row with its key that wins."""
        shaped = self._shape(batch)
        result = Cleaned(self.names, key_column=self._columns[self._key_index])
        result.total = len(shaped.rows) + len(shaped.rejects)
        result.rejects = shaped.rejects
        if not shaped.rows:
            result.columns = [[] for _ in self.names]
        else:
            faults = self._values(shaped, duplicates, result)
            _part(shaped, faults, self._columns, result)
        return result

    def _is_regular(self, batch: Batch) -> bool:
        return not batch.problems and have_width(batch.records, self._width)

    def _fits(self, record: list[str]) -> bool:
        if len(record) == self._width:
            return True
        if self._options.short_rows != "pad":
            return False
        return len(record) < self._width or not any(map(str.strip, record[self._width :]))

    def _shape(self, batch: Batch) -> _Shaped:
        """Set apart the rows that are blank, broken or of another width. A blank row is no row at all."""
        first = batch.first_row
        index = self._key_index
        if self._is_regular(batch) and all(map(str.strip, column_of(batch.records, index))):
            numbers = list(range(first, first + len(batch.records)))
            return _Shaped(numbers, batch.records, [])
        rows: list[int] = []
        records: list[list[str]] = []
        rejects: list[Reject] = []
        for position, record in enumerate(batch.records):
            fault: Fault | Problem | None = batch.problems.get(position)
            if fault is None:
                if not any(record) or not any(map(str.strip, record)):
                    continue
                if not self._fits(record):
                    fault = self._wrong_width(record)
            if fault is not None:
                cells = list(map(storable, record))
                code, message = fault
                rejects.append(Reject(first + position, None, code, message, cells))
            else:
                rows.append(first + position)
                records.append(self._padded(record))
        return _Shaped(rows, records, rejects)

    def _padded(self, record: list[str]) -> list[str]:
        missing = self._width - len(record)
        return record[: self._width] + [""] * missing if missing else record

    def _wrong_width(self, record: list[str]) -> Fault:
        cells = counted(len(record), "cell")
        return Fault("cell_count", f"The row has {cells} where the header has {self._width}.")

    def _values(
        self, shaped: _Shaped, duplicates: Mapping[int, int], result: Cleaned
    ) -> dict[int, tuple[int, Fault]]:
        """Fill the columns. Returns the first fault of each row at fault, with its column's index."""
        cells = columns_of(shaped.records)
        faults: dict[int, tuple[int, Fault]] = {}
        for index, one in ((self._key_index, self._key), *self._others):
            parsed = self._parse(cells[index], one)
            for position, fault in parsed.faults.items():
                faults.setdefault(position, (index, fault))
            if one.required:
                self._miss(parsed, index, one, faults)
            if one is self._key:
                self._lose(shaped.rows, duplicates, faults)
            result.columns.append(parsed.values)
        if self._attributes:
            parsed, where = self._attributes.parse(cells)
            for position, fault in parsed.faults.items():
                faults.setdefault(position, (where[position], fault))
            result.columns.append(parsed.values)
        return faults

    def _parse(self, cells: Sequence[str], one: Field) -> Parsed:
        if not cells:
            return Parsed([])
        column = Column(cells)
        parsed = one.type.parse(column, self._options)
        for position, fault in unstorable(column.cells, column.whole, one.type.max_chars).items():
            if position not in parsed.faults:
                parsed.faults[position] = fault
                parsed.values[position] = ""
        return parsed

    def _miss(
        self, parsed: Parsed, index: int, one: Field, faults: dict[int, tuple[int, Fault]]
    ) -> None:
        """Note the rows that say nothing where they must."""
        if all(parsed.values):
            return
        missing = Fault(f"missing_{one.name}", f"The {one.label} is missing.")
        for position, value in enumerate(parsed.values):
            if not value:
                faults.setdefault(position, (index, missing))

    def _lose(
        self,
        rows: Sequence[int],
        duplicates: Mapping[int, int],
        faults: dict[int, tuple[int, Fault]],
    ) -> None:
        """Note the rows whose key another row has taken."""
        if not duplicates:
            return
        for position, row in enumerate(rows):
            winner = duplicates.get(row)
            if winner is not None:
                faults.setdefault(position, (self._key_index, self._lost(winner)))

    def _lost(self, winner: int) -> Fault:
        return Fault(
            "duplicate",
            f"Row {winner} has the same {self._key.label} and comes first; only the first is used.",
        )


def _part(
    shaped: _Shaped, faults: dict[int, tuple[int, Fault]], columns: Sequence[str], result: Cleaned
) -> None:
    """Put the rows at fault with the rejects, and the others into the result."""
    result.rows, result.records = shaped.rows, shaped.records
    if not faults:
        return
    for position in sorted(faults):
        index, fault = faults[position]
        cells = list(map(storable, shaped.records[position]))
        row = shaped.rows[position]
        result.rejects.append(
            Reject(row, storable(columns[index]), fault.code, fault.message, cells)
        )
    result.rejects.sort(key=attrgetter("row_number"))
    good = [position not in faults for position in range(len(shaped.rows))]
    result.rows = list(compress(shaped.rows, good))
    result.records = only(shaped.records, good)
    result.columns = [list(compress(column, good)) for column in result.columns]
