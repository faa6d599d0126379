"""What a file is, by its content alone; its name and the sender's word may only agree.

A table of its own: it knows exactly the formats that are taken, and what it says the decoders then hold the file to.
"""

import zipfile
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, Literal

from app.errors import Unprocessable

HEAD_BYTES = 4096
_DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_AVIF = frozenset({b"avif", b"avis"})
_HEIF = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_BINARY = frozenset(range(32)) - {7, 8, 9, 10, 12, 13, 27}
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")
_NO_DOCUMENTS = (b"{\\rtf", b"%!PS", b"<svg", b"<?xml")


@dataclass(frozen=True, slots=True)
class FileType:
    """`name` is the media type; `pillow` what Pillow calls a picture's format, None for documents."""

    name: str
    pillow: str | None
    extensions: frozenset[str]

    @property
    def kind(self) -> Literal["picture", "document"]:
        """What can be made of it."""
        return "document" if self.pillow is None else "picture"


def _type(name: str, pillow: str | None, extensions: str) -> FileType:
    return FileType(name, pillow, frozenset(extensions.split()))


JPEG = _type("image/jpeg", "JPEG", "jpg jpeg jpe jfif")
PNG = _type("image/png", "PNG", "png apng")
GIF = _type("image/gif", "GIF", "gif")
WEBP = _type("image/webp", "WEBP", "webp")
TIFF = _type("image/tiff", "TIFF", "tif tiff")
BMP = _type("image/bmp", "BMP", "bmp dib")
AVIF = _type("image/avif", "AVIF", "avif avifs")
HEIF = _type("image/heic", "HEIF", "heic heif hif")
PDF = _type("application/pdf", None, "pdf")
DOCX = _type(_DOCX, None, "docx docm")
HTML = _type("text/html", None, "html htm xhtml")
TEXT = _type("text/plain", None, "txt text md markdown csv tsv log html htm")
TYPES = {
    each.name: each for each in (JPEG, PNG, GIF, WEBP, TIFF, BMP, AVIF, HEIF, PDF, DOCX, HTML, TEXT)
}
_BEGINNINGS = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"II+\0", TIFF),
    (b"MM\0+", TIFF),
    (b"BM", BMP),
    (b"%PDF-", PDF),
)
_EXTENSIONS = frozenset().union(*(each.extensions for each in TYPES.values()))
_ALIASES = {"image/jpg": "image/jpeg", "image/heif": "image/heic", "image/x-ms-bmp": "image/bmp"}
_TEXTS = frozenset({"text/plain", "text/html", "text/markdown", "text/csv", "text/x-markdown"})
_ANYTHING = frozenset({"", "application/octet-stream", "multipart/form-data"})
RAW_TYPES = (*TYPES, *_ALIASES, *sorted(_TEXTS - set(TYPES)), "application/octet-stream")
"""Content types of a raw body."""


def detect(source: BinaryIO) -> FileType:
    """Raises Unprocessable (`unsupported_type`, `empty_file`)."""
    head = source.read(HEAD_BYTES)
    source.seek(0)
    if not head:
        raise Unprocessable("The file is empty.", code="empty_file")
    found = _by_beginning(head) or (_archive(source) if head.startswith(b"PK") else _text(head))
    if found is None:
        raise Unprocessable(
            "The file is none of the types that are taken: JPEG, PNG, WebP, AVIF, HEIC, GIF, TIFF, BMP, PDF, "
            "DOCX, HTML, plain text. Convert it first.",
            code="unsupported_type",
        )
    return found


def check_name(found: FileType, filename: str, media_type: str) -> None:
    """Raise Unprocessable (`type_mismatch`) where the name, or the sender's content type, says otherwise."""
    extension = PurePosixPath(filename.lower()).suffix.removeprefix(".")
    if extension in _EXTENSIONS and extension not in found.extensions:
        raise _mismatch(f"is called .{extension}", found)
    told = _ALIASES.get(media_type, media_type)
    same = told == found.name or (told in _TEXTS and found.name in _TEXTS)
    if told not in _ANYTHING and not same:
        raise _mismatch(f"was sent as {told[:100]}", found)


def _mismatch(what: str, found: FileType) -> Unprocessable:
    return Unprocessable(
        f"The file {what}, but its content is {found.name}. Send it as what it is.",
        code="type_mismatch",
    )


def _by_beginning(head: bytes) -> FileType | None:
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return WEBP
    return next((found for mark, found in _BEGINNINGS if head.startswith(mark)), None)


def _by_brand(head: bytes) -> FileType | None:
    """The first box names who may read the file."""
    box = head[8 : min(int.from_bytes(head[:4], "big"), 256)]
    brands = {box[:4], *(box[at : at + 4] for at in range(8, len(box), 4))}
    if brands & _AVIF:
        return AVIF
    return HEIF if brands & _HEIF else None


def _archive(source: BinaryIO) -> FileType | None:
    try:
        with zipfile.ZipFile(source) as archive:
            names = archive.NameToInfo
            return DOCX if {"[Content_Types].xml", "word/document.xml"} <= set(names) else None
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None


def _text(head: bytes) -> FileType | None:
    if head.startswith(_WIDE_MARKS):
        return TEXT
    if _BINARY & set(head):
        return None
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1024].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return HTML
    return None if start.startswith(tuple(mark.lower() for mark in _NO_DOCUMENTS)) else TEXT
