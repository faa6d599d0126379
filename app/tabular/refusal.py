"""What is no table, told from the first bytes, in words that say what to send instead."""

import json
import re

from app.errors import MillraceError, Unprocessable, UnsupportedMediaType

_HEAD = 4096
_SPACE = b" \t\r\n\x00\x1a"
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff", b"\xff\xfe", b"\xfe\xff")
_SIGNATURES = (
    (b"%PDF-", "a PDF document"),
    (b"\x89PNG\r\n", "a picture (PNG)"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"GIF87a", "a picture (GIF)"),
    (b"GIF89a", "a picture (GIF)"),
    (b"II*\x00", "a picture (TIFF)"),
    (b"MM\x00*", "a picture (TIFF)"),
    (b"\x7fELF", "a program"),
    (b"\xcf\xfa\xed\xfe", "a program"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"SQLite format 3\x00", "a database (SQLite)"),
    (b"PAR1", "a Parquet file"),
    (b"Obj\x01", "an Avro file"),
    (b"ORC", "an ORC file"),
    (b"ARROW1", "an Arrow file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"{\\rtf", "a text document (RTF)"),
    (b"OggS", "a sound"),
    (b"ID3", "a sound (MP3)"),
    (b"fLaC", "a sound"),
    (b"\x1aE\xdf\xa3", "a video"),
)
_HTML = re.compile(
    rb"<(?:!doctype\s+html|html|head|body|table|script|div|meta|style|title|link|font|center)\b|<!--",
    re.IGNORECASE,
)
_XML = re.compile(
    rb"<(?:\?xml|!doctype|svg|rss|feed)\b|<[a-z][\w:.-]*(?:\s[^<>]*)?>\s*<[a-z]", re.IGNORECASE
)
_OTHER_TEXT = (
    (re.compile(rb"BEGIN:VCARD\b", re.IGNORECASE), "an address book (vCard)"),
    (re.compile(rb"BEGIN:VCALENDAR\b", re.IGNORECASE), "a calendar (iCalendar)"),
    (
        re.compile(rb"MIME-Version: *1|Return-Path: *<|Received: +from "),
        "a message or a web archive (MIME)",
    ),
    (
        re.compile(rb"version https://git-lfs\.github\.com/"),
        "a pointer of Git LFS in place of a file",
    ),
    (
        re.compile(
            rb"(?:--[^\n]*\n\s*|/\*(?:(?!\*/).)*\*/;?\s*)*(?:CREATE +TABLE|DROP +TABLE|INSERT +INTO|SET +[@\w]+ *=)\s|"
            rb"-- (?:MySQL|MariaDB|PostgreSQL|SQLite)\b[^\n]* dump\b",
            re.IGNORECASE | re.DOTALL,
        ),
        "a dump of a database (SQL)",
    ),
)
_JSON = re.compile(
    rb"\s*(?:\{\s*(?:\"(?:[^\"\\\n]|\\.){0,200}\"\s*:|\}\s*$)|\[\s*(?:[\[{]|\]\s*$))"
)


def refuse_early(head: bytes) -> None:
    """Raises for what the first bytes (4 KiB are enough) show to be no table at all.

    Unprocessable for an empty file, UnsupportedMediaType for all that is something else.
    """
    if not head:
        raise empty_file()
    start = head[:_HEAD]
    for signature, what in _SIGNATURES:
        if start.startswith(signature) and _is_binary(start, signature):
            raise wrong_type(what)
    _refuse_containers_of_other_things(start)
    text = _readable(start)
    if _HTML.match(text):
        raise wrong_type("a web page (HTML), perhaps an error page in place of a download")
    if _XML.match(text):
        raise wrong_type("an XML document")
    if _JSON.match(text) or _is_json_array(text):
        raise wrong_type("JSON")
    for pattern, what in _OTHER_TEXT:
        if pattern.match(text):
            raise wrong_type(what)


def _is_json_array(text: bytes) -> bool:
    """Whether the first line is an array in JSON, as every line of JSON Lines may be."""
    line, _, _ = text.partition(b"\n")
    if not line.startswith(b"["):
        return False
    try:
        return isinstance(json.loads(line.rstrip(b"\r ,")), list)
    except (ValueError, RecursionError):
        return False


def _is_binary(start: bytes, signature: bytes) -> bool:
    """A short signature in letters may begin a header: then what follows is text."""
    if re.search(rb"[^\x20-\x7e]", signature):
        return True
    rest = start[len(signature) :]
    return signature in (b"%PDF-", b"{\\rtf", b"GIF87a", b"GIF89a") or b"\x00" in rest


def _refuse_containers_of_other_things(start: bytes) -> None:
    if start.startswith(b"RIFF") and start[8:12] in (b"WAVE", b"AVI ", b"WEBP"):
        raise wrong_type("a sound, a video or a picture")
    if start[4:8] == b"ftyp" and start[:1] == b"\x00":
        raise wrong_type("a video or a picture")
    if start.startswith(b"BM") and len(start) > 14 and start[6:10] == bytes(4):  # noqa: PLR2004
        raise wrong_type("a picture (BMP)")
    if start.startswith(b"MZ") and b"\x00" in start[:128]:
        raise wrong_type("a program")
    if start.startswith(b"PK\x05\x06"):
        raise Unprocessable("The zip archive is empty. Put one CSV file in it.", code="empty_file")
    if start[257:262] == b"ustar":
        raise wrong_type("a tar archive")


def _readable(start: bytes) -> bytes:
    """The text's beginning in ASCII, whatever the width of its characters."""
    for mark in _MARKS:
        start = start.removeprefix(mark)
    if start[:64].count(0) * 3 > len(start[:64]):
        start = start.replace(b"\x00", b"")
    return start.lstrip(_SPACE)


def wrong_type(what: str) -> UnsupportedMediaType:
    """The file is something else."""
    return UnsupportedMediaType(
        f"This is {what}, not a table. Send a CSV file or an Excel workbook.", code="not_a_table"
    )


def empty_file() -> MillraceError:
    """There is nothing in it."""
    return Unprocessable("The file is empty. Send a CSV file with a header row.", code="empty_file")
