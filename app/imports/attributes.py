"""The columns without a field, as one JSON object a row."""

from collections.abc import Sequence
from itertools import count
from json.encoder import encode_basestring as _quoted

from app.imports.storable import storable, unstorable
from app.imports.targets import PARENT_COLUMNS
from app.imports.values import Column, Fault, Parsed

MAX_CHARS = 10_000


class Attributes:
    """Gathers the attributes of a file's rows. Empty cells say nothing, so they are left out."""

    def __init__(self, columns: Sequence[str], fields: Sequence[str]) -> None:
        names = attribute_names(columns)
        self._columns = [
            (index, _quoted(names[index]))
            for index, (column, field) in enumerate(zip(columns, fields, strict=True))
            if not field and column.strip() not in PARENT_COLUMNS
        ]

    def __bool__(self) -> bool:
        return bool(self._columns)

    def parse(self, cells: Sequence[Sequence[str]]) -> tuple[Parsed, dict[int, int]]:
        """The objects of all rows, and of each fault the column's index. `cells` are whole columns."""
        faults: dict[int, Fault] = {}
        where: dict[int, int] = {}
        members: list[list[str]] = []
        for index, name in self._columns:
            column = Column(cells[index])
            for position, fault in unstorable(column.cells, column.whole, MAX_CHARS).items():
                if position not in faults:
                    faults[position], where[position] = fault, index
            members.append(_members(name, column))
        return Parsed(_objects(members), faults), where


def _members(name: str, column: Column) -> list[str]:
    """`"name": "value"` for each cell, "" for an empty one."""
    whole = column.whole
    if whole.isprintable() and '"' not in whole and "\\" not in whole:
        before = f'{name}: "'
        return [f'{before}{cell}"' if cell else "" for cell in column.cells]
    return [f"{name}: {_quoted(cell)}" if cell else "" for cell in column.cells]


def _objects(members: list[list[str]]) -> list[str]:
    if len(members) == 1:
        return [f"{{{member}}}" for member in members[0]]
    if all(map(all, members)):
        return [f"{{{row}}}" for row in map(", ".join, zip(*members, strict=True))]
    return [f"{{{', '.join(filter(None, row))}}}" for row in zip(*members, strict=True)]


def attribute_names(columns: Sequence[str]) -> list[str]:
    """A name for each column that is unique in the file: `column 3` for an empty one, `x (2)` for a
    repeated one. Only characters that the database can hold.
    """
    names: dict[str, None] = {}
    for position, column in enumerate(columns, 1):
        plain = name = storable(" ".join(column.split())) or f"column {position}"
        for again in count(2):
            if name not in names:
                break
            name = f"{plain} ({again})"
        names[name] = None
    return list(names)
