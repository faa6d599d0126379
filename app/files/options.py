"""What a sender may want of a file."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from app.errors import Unprocessable
from app.files.protocol import Wanted
from app.files.types import FileType

MAX_SIDE = 4096
MAX_VARIANTS = 10


class VariantSpec(BaseModel):
    """A variant to be: it fits into the box, or covers it and is cut; never larger than the picture itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
    width: Annotated[int, Field(ge=1, le=MAX_SIDE)]
    height: Annotated[int, Field(ge=1, le=MAX_SIDE)]
    format: Literal["jpeg", "png", "webp", "avif", "heic"] = "webp"
    quality: Annotated[int, Field(ge=1, le=100)] = 80
    fit: Literal["inside", "cover"] = "inside"

    @property
    def wanted(self) -> Wanted:
        """As the sandbox is told."""
        return Wanted(**self.model_dump())


def _named_apart(variants: list[VariantSpec]) -> list[VariantSpec]:
    if len({each.name for each in variants}) < len(variants):
        raise ValueError("Each variant needs a name of its own.")
    return variants


Variants = Annotated[
    list[VariantSpec], Field(max_length=MAX_VARIANTS), AfterValidator(_named_apart)
]
_VARIANTS: TypeAdapter[list[VariantSpec]] = TypeAdapter(Variants)
DEFAULTS = (
    VariantSpec(name="thumb", width=320, height=320),
    VariantSpec(name="medium", width=1024, height=1024),
    VariantSpec(name="large", width=2048, height=2048),
)


def parse_variants(text: str) -> list[VariantSpec]:
    """A JSON list. Raises Unprocessable (`invalid_variants`)."""
    try:
        return _VARIANTS.validate_json(text)
    except ValidationError as bad:
        first = bad.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise Unprocessable(
            f'\'variants\' must be a JSON list such as [{{"name": "thumb", "width": 320, "height": 320}}]; '
            f"{place or 'the list'}: {first['msg'].removeprefix('Value error, ')}",
            code="invalid_variants",
        ) from None


def settle_variants(found: FileType, asked: list[VariantSpec] | None) -> list[VariantSpec]:
    """Those to make. Raises Unprocessable where there is nothing to make them of."""
    if found.kind == "picture":
        return list(DEFAULTS) if asked is None else asked
    if asked:
        raise Unprocessable(
            f"There are no variants of {found.name}. Leave 'variants' out.", code="no_variants"
        )
    return []


def settle_text(found: FileType, asked: bool | None) -> bool:
    """Whether to extract the text. Raises Unprocessable for a picture's."""
    if found.kind == "document":
        return asked is not False
    if asked:
        raise Unprocessable(
            f"There is no text in {found.name}. Leave 'extract_text' out.", code="no_text"
        )
    return False


def settle_searchable(extract_text: bool, asked: bool | None) -> bool:
    """Whether the text becomes documents. Raises Unprocessable where no text will be there."""
    if asked and not extract_text:
        raise Unprocessable(
            "What is found by meaning is a text, and none is taken from this file. Leave 'searchable' out, "
            "or for a document leave out 'extract_text=false'.",
            code="no_text",
        )
    return bool(asked)


def dumped(variants: list[VariantSpec] | None) -> Any:
    """As JSON."""
    return None if variants is None else [each.model_dump() for each in variants]
