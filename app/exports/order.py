"""What a caller may order: which table, which rows and columns of it, in which format."""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from app.exports.tables import TABLES, Table
from app.ledger.job_error import printable

MAX_ATTRIBUTES = 50


class Format(StrEnum):
    """What a table can be had as."""

    CSV = "csv"
    XLSX = "xlsx"
    PARQUET = "parquet"


class ReportFormat(StrEnum):
    """What a report is."""

    PDF = "pdf"


_CONTENT_TYPES: dict[str, str] = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    Format.PARQUET: "application/vnd.apache.parquet",
    ReportFormat.PDF: "application/pdf",
}


def content_type_of(file_format: str) -> str:
    """As HTTP names it."""
    return _CONTENT_TYPES[file_format]


Text = Annotated[str, Field(max_length=1000)]


class RowFilter(BaseModel):
    """Which rows: those for which all of it is true. `..._from` is included, `..._before` is not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    created_from: AwareDatetime | None = None
    created_before: AwareDatetime | None = None
    updated_from: AwareDatetime | None = None
    updated_before: AwareDatetime | None = None
    attributes: Annotated[
        dict[Text, Text] | None,
        Field(
            max_length=MAX_ATTRIBUTES,
            description="Contacts that have these attributes with just these values.",
        ),
    ] = None


class Order(BaseModel):
    """An export to be, of a table. `columns` None are those that an import would take back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: Annotated[str, Field(examples=["contacts"], max_length=50)]
    format: Annotated[Format, Field(examples=["csv"])]
    filter: RowFilter = RowFilter()
    columns: Annotated[
        list[str] | None,
        Field(
            min_length=1,
            max_length=100,
            description="In this order; null is every column that an import would take back. `id`, "
            "`created_at` and `updated_at` are there to be asked for.",
            examples=[["email", "company", "created_at"]],
        ),
    ] = None
    one_moment: Annotated[
        bool,
        Field(
            description="A large CSV file is made in parts, side by side: each key is in it once, and each row is "
            "as it was at some moment while the file was made. With this, all rows are as of one moment, "
            "whatever the size; it takes longer."
        ),
    ] = False

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.target not in TABLES:
            raise ValueError(f"target is one of: {', '.join(TABLES)}")
        if self.filter.attributes is not None and self.table.attributes is None:
            raise ValueError(f"{self.target} have no attributes to filter by.")
        named = self.columns or []
        unknown = [name for name in named if name not in self.table.by_name]
        if unknown or len(set(named)) < len(named):
            raise ValueError(f"columns are some of, each once: {', '.join(self.table.by_name)}")
        words = self.filter.attributes or {}
        if any(printable(word) != word for pair in words.items() for word in pair):
            raise ValueError("Leave out NUL characters and lone surrogates.")
        return self

    @property
    def table(self) -> Table:
        """What the rows come from."""
        return TABLES[self.target]

    def stored(self) -> dict[str, Any]:
        """As the export's row keeps it."""
        named = {"filter", "columns", *(("one_moment",) if self.one_moment else ())}
        return self.model_dump(mode="json", include=named, exclude_none=True)
