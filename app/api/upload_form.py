"""The body of an upload, read as it streams: the file itself, or multipart/form-data with a `file` part.

Starlette's own form parser would first spool the file to disk; this one hands its bytes on.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from email.message import Message
from typing import Any, Generic, Protocol, TypeVar

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.errors import InvalidRequest, Unprocessable, UnsupportedMediaType
from app.imports.options import ImportOptions, parse_options

RAW_TYPES = (
    "text/csv",
    "application/csv",
    "text/plain",
    "text/tab-separated-values",
    "application/gzip",
    "application/x-gzip",
    "application/zip",
    "application/x-zip-compressed",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.ms-excel",
    "application/octet-stream",
)
"""They all mean the same: what the file is, its bytes say."""
MAX_FIELD_BYTES = 256 * 1024
_MAX_PART_HEADER_BYTES = 16 * 1024
DEFAULT_FILENAME = "upload.csv"

WriteFile = Callable[[bytes], Awaitable[None]]


class Enough(Exception):
    """Raised by `write` of who needs no more of the file: reading ends there."""


class FormLike(Protocol):
    """What came beside a file's bytes."""

    filename: str

    @property
    def names(self) -> Collection[str]:
        """The form's parts beside `file`."""

    def take(self, name: str, value: str) -> None:
        """A part's text. Raises Unprocessable."""


FormT = TypeVar("FormT", bound=FormLike)


@dataclass(slots=True)
class Form:
    """What came beside the file's bytes; None is what was left out. `options` are known to be valid."""

    filename: str = DEFAULT_FILENAME
    mapping: dict[str, str] | None = None
    options: dict[str, Any] | None = None

    @property
    def names(self) -> Collection[str]:
        """See FormLike."""
        return ("mapping", "options")

    def take(self, name: str, value: str) -> None:
        """See FormLike."""
        if name == "mapping":
            self.mapping = parse_mapping(value)
        else:
            self.options = parse_options_json(value)

    @property
    def import_options(self) -> ImportOptions:
        """The options with their defaults."""
        return parse_options(self.options or {})


async def read_upload(
    content_type: str,
    body: AsyncIterator[bytes],
    query: FormT,
    write: WriteFile,
    *,
    raw_types: Collection[str] = RAW_TYPES,
) -> FormT:
    """Read the whole body, or until `write` has Enough, handing the file's bytes to `write`.

    `query` is what the query string said; parts of the form come before it. Raises InvalidRequest for a
    body that is no proper form, UnsupportedMediaType for another content type.
    """
    media_type, parameters = parse_options_header(content_type)
    kind = media_type.decode("latin-1").lower()
    if kind in raw_types:
        with suppress(Enough):
            async for block in body:
                if block:
                    await write(block)
        return query
    if kind != "multipart/form-data":
        raise UnsupportedMediaType(
            f"The content type {kind or '(none)'!r} is not taken here. Send the file as one of "
            f"{', '.join(raw_types)}, or multipart/form-data with the file in a part called 'file'."
        )
    boundary = parameters.get(b"boundary")
    if not boundary:
        raise InvalidRequest("The multipart content type has no boundary.", code="invalid_form")
    return await _MultipartForm(boundary, query).read(body, write)


class _MultipartForm(Generic[FormT]):
    """Turns the push parser's callbacks into a list of file bytes and fields, block by block."""

    def __init__(self, boundary: bytes, query: FormT) -> None:
        self._form: FormT = replace(query)  # type: ignore[type-var]
        self._file_blocks: list[bytes] = []
        self._fields: dict[str, bytearray] = {}
        self._header = bytearray()
        self._header_bytes = 0
        self._value = bytearray()
        self._headers = Message()
        self._part = ""
        self._files = 0
        self._complete = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_end": self._on_end,
            },
        )

    async def read(self, body: AsyncIterator[bytes], write: WriteFile) -> FormT:
        try:
            await self._read_on(body, write)
        except Enough:
            return self._filled()
        if not self._complete:
            raise InvalidRequest(
                "The body ends before the form does. Send it again, whole.", code="incomplete_body"
            )
        if not self._files:
            raise InvalidRequest(
                "The form has no part called 'file'. Put the file there.", code="no_file"
            )
        return self._filled()

    async def _read_on(self, body: AsyncIterator[bytes], write: WriteFile) -> None:
        async for block in body:
            try:
                self._parser.write(block)
            except MultipartParseError as error:
                raise InvalidRequest(
                    f"The form is not valid multipart/form-data: {error}", code="invalid_form"
                ) from error
            for data in self._file_blocks:
                await write(data)
            self._file_blocks.clear()

    def _filled(self) -> FormT:
        for name, value in self._fields.items():
            self._form.take(name, value.decode("utf-8", "replace"))
        return self._form

    def _on_part_begin(self) -> None:
        self._headers = Message()
        self._header_bytes = 0
        self._part = ""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header.decode("latin-1")] = self._value.decode("utf-8", "replace")
        self._header.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        disposition = self._headers.get("Content-Disposition", "")
        _, parameters = parse_options_header(disposition.encode())
        self._part = parameters.get(b"name", b"").decode("utf-8", "replace")
        if self._part == "file":
            self._files += 1
            if self._files > 1:
                raise InvalidRequest(
                    "The form has two files. Send one file per request.", code="two_files"
                )
            sent_name = parameters.get(b"filename", b"").decode("utf-8", "replace").strip()
            self._form.filename = sent_name or self._form.filename
        elif self._part in self._form.names:
            self._fields[self._part] = bytearray()

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part == "file":
            self._file_blocks.append(data[start:end])
        elif self._part in self._fields:
            value = self._fields[self._part]
            value += data[start:end]
            if len(value) > MAX_FIELD_BYTES:
                raise InvalidRequest(
                    f"The part {self._part!r} is over {MAX_FIELD_BYTES} bytes.",
                    code="field_too_large",
                )

    def _on_end(self) -> None:
        self._complete = True

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > _MAX_PART_HEADER_BYTES:
            raise InvalidRequest("A part of the form has overlong headers.", code="invalid_form")


def parse_mapping(text: str) -> dict[str, str]:
    """`{"Column header": "field"}`; raises Unprocessable."""
    mapping = _json_object(text, "mapping", "invalid_mapping")
    if not all(isinstance(field_name, str) for field_name in mapping.values()):
        raise Unprocessable(
            'The mapping must be a JSON object of strings, such as {"E-mail": "email"}.',
            code="invalid_mapping",
        )
    return mapping


def parse_options_json(text: str) -> dict[str, Any]:
    """Options as they were sent, found valid; raises Unprocessable."""
    options = _json_object(text, "options", "invalid_options")
    parse_options(options)
    return options


def _json_object(text: str, name: str, code: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Unprocessable(f"'{name}' must be a JSON object.", code=code)
    return value
