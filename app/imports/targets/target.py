"""What an import target is: a table, its key, and the typed fields that a file can fill."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from app.imports.values import FieldType

PARENT_COLUMNS = frozenset({"_row", "_column", "_error"})
"""What a rejects file has besides the columns of the file it came from: never a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A column of the target's table that a file can fill.

    `label` is what a message calls it, without an article. `names` are the column names that people give
    it, in any language; case, accents and punctuation make no difference. `also` are
    names that count less, as of a part or a kind of it. `never` are names
    of columns that hold something else, though their values look the same. `beside` has names that are the field's
    only where a column of another name is there too: "Name" beside "Vorname". A row without a value for a
    required field is rejected; the key is always required.
    """

    name: str
    type: FieldType
    label: str
    names: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    beside: Mapping[str, str] = field(default_factory=dict, hash=False)
    required: bool = False


@dataclass(frozen=True, kw_only=True)
class Target:
    """A kind of row. The table has `id` (uuid), `tenant_id`, `created_at` and `updated_at` besides its
    fields, a unique index on (tenant_id, key), and the trigger `touch_updated_at`.

    `attributes` names the jsonb column that keeps the columns without a field, if there is one: they are
    merged into what is there.
    """

    name: str
    table: str
    key: str
    fields: tuple[Field, ...]
    attributes: str | None = None

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        if self.key not in names or len(set(names)) != len(names):
            raise ValueError(
                f"{self.name}: the key must be one of the fields, and these be distinct"
            )

    @cached_property
    def by_name(self) -> dict[str, Field]:
        """The fields, in their order."""
        return {field.name: field for field in self.fields}

    @property
    def key_field(self) -> Field:
        """What tells one row from another."""
        return self.by_name[self.key]
