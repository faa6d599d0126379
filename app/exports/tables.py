"""What can be exported: tables, their columns, and how each is read. The one place of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Kind(StrEnum):
    """What a column holds, for the formats that have types."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    MOMENT = "moment"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A column of the table. `own` ones are what an import would take back; the others come when asked for."""

    name: str
    kind: Kind = Kind.TEXT
    own: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table with `id`, `tenant_id`, `created_at` and `updated_at`, unique by (tenant_id, key).

    `attributes` is the jsonb column that holds columns without a field, if there is one.
    """

    name: str
    key: str
    sources: tuple[Source, ...]
    attributes: str | None = None

    @property
    def by_name(self) -> Mapping[str, Source]:
        """Every column that may be asked for."""
        return {source.name: source for source in (*self.sources, *_OF_ALL)}


_OF_ALL = (
    Source(name="id", own=False),
    Source(name="created_at", kind=Kind.MOMENT, own=False),
    Source(name="updated_at", kind=Kind.MOMENT, own=False),
)

TABLES: Mapping[str, Table] = MappingProxyType(
    {
        table.name: table
        for table in (
            Table(
                name="contacts",
                key="email",
                attributes="attributes",
                sources=(
                    Source(name="email"),
                    Source(name="first_name"),
                    Source(name="last_name"),
                    Source(name="company"),
                    Source(name="phone"),
                    Source(name="attributes", kind=Kind.JSON),
                ),
            ),
            Table(
                name="products",
                key="sku",
                sources=(
                    Source(name="sku"),
                    Source(name="name"),
                    Source(name="price", kind=Kind.DECIMAL),
                    Source(name="currency"),
                    Source(name="stock", kind=Kind.INTEGER),
                ),
            ),
        )
    }
)
