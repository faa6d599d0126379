"""An upload that becomes a file."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query
from sqlalchemy import Connection

from app.api.accept import CheckSize, Kind, Stored
from app.api.file_view import accepted_file
from app.api.idempotency import Answer
from app.errors import TooLarge, Unprocessable
from app.files.acceptance import Arrived, accept_file
from app.files.objects import source_key
from app.files.options import (
    VariantSpec,
    dumped,
    parse_variants,
    settle_searchable,
    settle_text,
    settle_variants,
)
from app.files.types import RAW_TYPES, check_name, detect
from app.scanning import gate
from app.settings import Settings

_TEXT: dict[str, Any] = {"type": "string"}
_FLAG: dict[str, Any] = {**_TEXT, "enum": ["true", "false"]}
_BINARY: dict[str, Any] = {"type": "string", "format": "binary"}
_ANSWERS = {"true": True, "1": True, "false": False, "0": False}
DEFAULT_FILENAME = "upload"
FILE_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": _BINARY,
                    "variants": {**_TEXT, "description": "JSON: a list of the schema VariantSpec"},
                    "extract_text": _FLAG,
                    "searchable": _FLAG,
                },
            }
        },
        **{name: {"schema": _BINARY} for name in RAW_TYPES},
    },
}


@dataclass(slots=True)
class FileForm:
    """What came beside the file's bytes; None is what was left out."""

    filename: str = DEFAULT_FILENAME
    variants: list[VariantSpec] | None = None
    extract_text: bool | None = None
    searchable: bool | None = None

    @property
    def names(self) -> Collection[str]:
        """See FormLike."""
        return ("variants", "extract_text", "searchable")

    @property
    def facts(self) -> tuple[object, ...]:
        """What makes two requests with one Idempotency-Key the same."""
        asked = (dumped(self.variants), self.extract_text)
        return asked if self.searchable is None else (*asked, self.searchable)

    def take(self, name: str, value: str) -> None:
        """See FormLike."""
        match name:
            case "variants":
                self.variants = parse_variants(value)
            case "extract_text":
                self.extract_text = parse_flag(name, value)
            case _:
                self.searchable = parse_flag(name, value)


def parse_flag(name: str, text: str) -> bool:
    """Raises Unprocessable (`invalid_flag`)."""
    answer = _ANSWERS.get(text.strip().lower())
    if answer is None:
        raise Unprocessable(f"{name!r} must be true or false.", code="invalid_flag")
    return answer


def form_from_query(
    filename: Annotated[str, Query(max_length=255)] = DEFAULT_FILENAME,
    variants: Annotated[str | None, Query(description="As the form's part.")] = None,
    extract_text: Annotated[bool | None, Query(description="As the form's part.")] = None,
    searchable: Annotated[bool | None, Query(description="As the form's part.")] = None,
) -> FileForm:
    """What a raw body has no room for."""
    asked = parse_variants(variants) if variants else None
    return FileForm(filename or DEFAULT_FILENAME, asked, extract_text, searchable)


FileQuery = Annotated[FileForm, Depends(form_from_query)]


def file_kind(content_type: str, settings: Settings) -> Kind[FileForm, Arrived]:
    """A file of a customer's, sent with that content type."""
    media_type = content_type.partition(";")[0].strip().lower()
    return Kind(
        raw_types=RAW_TYPES,
        key=source_key,
        admit=_admit,
        refuse_early=lambda _: None,
        look=partial(_look, media_type, gate.is_on(settings)),
        facts=lambda form: form.facts,
        record=_record,
    )


def _admit(_tx: Connection, _tenant_id: UUID, settings: Settings, _repeated: bool) -> CheckSize:
    def check_size(size: int) -> None:
        if size > settings.file_max_bytes:
            raise TooLarge(
                f"The file is over the limit of {settings.file_max_bytes} bytes. Send a smaller one."
            )

    return check_size


def _look(media_type: str, scan: bool, stored: Stored[FileForm]) -> Arrived:
    form, intake = stored.form, stored.intake
    with intake.open() as source:
        found = detect(source)
    check_name(found, form.filename, media_type)
    wants_text = settle_text(found, form.extract_text)
    return Arrived(
        id=stored.id,
        filename=form.filename,
        object_key=intake.key,
        size=intake.size,
        sha256=stored.sha256,
        type=found.name,
        variants=settle_variants(found, form.variants),
        extract_text=wants_text,
        searchable=settle_searchable(wants_text, form.searchable),
        scan=scan,
    )


def _record(tx: Connection, tenant_id: UUID, arrived: Arrived, request: str) -> Answer:
    accept_file(tx, tenant_id, arrived)
    return accepted_file(tx, tenant_id, arrived.id, request)
