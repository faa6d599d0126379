"""What a caller may ask of an import."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.errors import Unprocessable
from app.imports.apply import Policy
from app.imports.cleaning import ValueOptions
from app.imports.targets import TARGETS, Target
from app.imports.values import Region
from app.tabular.layout import Hints

ShortText = Annotated[str, Field(max_length=255)]


class ImportOptions(BaseModel):
    """The API's `options`. What says how the file is read is found out where it is left open.

    `all_or_nothing`: one rejected row, and nothing is imported. `dry_run`: nothing is imported in any
    case, and the counts say what would have been.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: ShortText = "contacts"
    policy: Policy = Policy.UPSERT
    dry_run: bool = False
    all_or_nothing: bool = False

    encoding: ShortText | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=10)] | None = None
    quote: Annotated[str, Field(max_length=1)] | None = None
    escape: Annotated[str, Field(max_length=1)] | None = None
    header_row: Annotated[int, Field(ge=0, le=100_000)] | None = None
    sheet: ShortText | None = None
    member: Annotated[str, Field(max_length=1000)] | None = None

    date_order: Literal["dmy", "mdy", "ymd"] | None = None
    decimal: Literal[".", ","] | None = None
    phone_region: Annotated[Region, Field(pattern="^[A-Z]{2}$")] | None = None
    short_rows: Literal["reject", "pad"] = "reject"

    @model_validator(mode="after")
    def _known_target(self) -> Self:
        if self.target not in TARGETS:
            raise ValueError(f"target is one of: {', '.join(TARGETS)}")
        return self

    @property
    def rows(self) -> Target:
        """What the file's rows become."""
        return TARGETS[self.target]

    def hints(self) -> Hints:
        """For the reader of the file."""
        return Hints(**{name: getattr(self, name) for name in Hints.model_fields})

    def values(self) -> ValueOptions:
        """For the cleaner of the values."""
        return ValueOptions(**{name: getattr(self, name) for name in ValueOptions.model_fields})

    def with_values(self, values: ValueOptions) -> "ImportOptions":
        """With what was decided about the values from the file's own beginning."""
        return self.model_copy(update=values.model_dump())


def parse_options(facts: object) -> ImportOptions:
    """From the API's JSON. Raises Unprocessable (`invalid_options`) with all that is wrong."""
    from pydantic import ValidationError

    try:
        return ImportOptions.model_validate(facts)
    except ValidationError as bad:
        wrong = "; ".join(
            f"{'.'.join(map(str, error['loc'])) or 'options'}: {error['msg']}"
            for error in bad.errors()
        )
        raise Unprocessable(
            f"The options are not right: {wrong}.", code="invalid_options"
        ) from None
