"""What calls that take a file take: in OpenAPI's words, and from the query string."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Query

from app.api.upload_form import DEFAULT_FILENAME, RAW_TYPES, Form, parse_mapping, parse_options_json

_TEXT: dict[str, Any] = {"type": "string"}
_BINARY: dict[str, Any] = {"type": "string", "format": "binary"}
FORM: Mapping[str, Any] = {
    "schema": {
        "type": "object",
        "required": ["file"],
        "properties": {
            "file": _BINARY,
            "mapping": {**_TEXT, "description": 'JSON: {"Column header": "field"}'},
            "options": {**_TEXT, "description": "JSON: the schema ImportOptions"},
        },
    }
}
FILE_BODY: dict[str, Any] = {
    "required": True,
    "content": {"multipart/form-data": FORM, **{name: {"schema": _BINARY} for name in RAW_TYPES}},
}
ACCEPTED: Mapping[int | str, dict[str, Any]] = {
    202: {
        "description": "Accepted; it goes on in the background.",
        "headers": {
            "Location": {"schema": {"type": "string"}, "description": "Where to watch the import."}
        },
    }
}


def form_from_query(
    filename: Annotated[str, Query(max_length=255)] = DEFAULT_FILENAME,
    mapping: Annotated[str | None, Query(description="As the form's part.")] = None,
    options: Annotated[str | None, Query(description="As the form's part.")] = None,
) -> Form:
    """What a raw body has no room for."""
    return Form(
        filename or DEFAULT_FILENAME,
        parse_mapping(mapping) if mapping else None,
        parse_options_json(options) if options else None,
    )


QueryForm = Annotated[Form, Depends(form_from_query)]
