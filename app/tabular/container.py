"""What a table comes in: as it is, or packed by gzip or zip. Unpacked as a stream, and bounded."""

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Literal, cast

from app.errors import MillraceError, TooLarge, Unprocessable

MAX_UNPACKED_BYTES = 16 * 1024**3
"""What a packed file may unpack to."""
_MAX_RATIO = 200
_RATIO_COUNTS_FROM = 16 * 1024 * 1024
_MAX_MEMBERS = 10_000
_TABLE_NAMES = (
    ".csv",
    ".tsv",
    ".tab",
    ".txt",
    ".psv",
    ".dat",
    ".xlsx",
    ".xls",
    ".xlsb",
    ".ods",
    ".xlsm",
)
_LISTED = 10

Kind = Literal["plain", "gzip", "zip"]


def kind_of(head: bytes) -> Kind:
    """By the first bytes."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    return "zip" if head.startswith(b"PK\x03\x04") else "plain"


def is_workbook(head: bytes, source: BinaryIO) -> bool:
    """Whether it is a workbook: itself a zip archive with certain members, or the format before that."""
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        return True
    if kind_of(head) != "zip":
        return False
    with open_archive(source) as archive:
        names = set(archive.namelist())
    return bool(names & {"xl/workbook.xml", "xl/workbook.bin"}) or (
        "content.xml" in names and "mimetype" in names
    )


_BROKEN = (zipfile.BadZipFile, OSError, ValueError, IndexError, NotImplementedError, RuntimeError)
"""What the library raises for directories and members that are not as they should be."""


@contextmanager
def open_archive(source: BinaryIO) -> Iterator[zipfile.ZipFile]:
    """The archive's directory; raises Unprocessable where it is damaged or too long."""
    source.seek(0)
    try:
        archive = zipfile.ZipFile(source)
    except _BROKEN as error:
        raise damaged("zip archive") from error
    with archive:
        if len(archive.namelist()) > _MAX_MEMBERS:
            raise Unprocessable(
                "The zip archive has too many files in it. Send one CSV file.",
                code="too_many_members",
            )
        try:
            yield archive
        except _BROKEN as error:  # its directory says what isn't so
            raise damaged("zip archive") from error


def pick_member(archive: zipfile.ZipFile, wanted: str | None) -> str:
    """The one table in the archive, or the one that the caller names; raises Unprocessable."""
    files = [
        info for info in archive.infolist() if not info.is_dir() and not _is_clutter(info.filename)
    ]
    names = [info.filename for info in files]
    if wanted is not None:
        if wanted not in names:
            raise Unprocessable(
                f"There is no {wanted[:100]!r} in the archive. In it are: {_listed(names)}",
                code="no_such_member",
            )
        return wanted
    tables = [name for name in names if name.lower().endswith(_TABLE_NAMES)]
    filled = [info.filename for info in files if info.filename in tables and info.file_size]
    for choice in (names, tables, filled):
        if len(choice) == 1:
            return choice[0]
    if not names:
        raise Unprocessable("The zip archive is empty. Put one CSV file in it.", code="empty_file")
    raise Unprocessable(
        f"The archive holds several files; say which one with `member`. In it are: {_listed(names)}",
        code="several_members",
    )


def open_member(archive: zipfile.ZipFile, name: str) -> BinaryIO:
    """The member's bytes; raises TooLarge, Unprocessable."""
    info = archive.getinfo(name)
    if info.flag_bits & 1:
        raise Unprocessable(
            "The zip archive is locked with a password. Send it without one.", code="encrypted"
        )
    _check_size(info.file_size, info.compress_size)
    try:
        member = archive.open(info)
    except _BROKEN as error:
        raise damaged("zip archive") from error
    return cast("BinaryIO", Unpacked(member, packed_bytes=info.compress_size))


def open_gzip(source: BinaryIO) -> BinaryIO:
    """The unpacked bytes of a gzip stream."""
    source.seek(0, io.SEEK_END)
    size = source.tell()
    source.seek(0)
    return Unpacked(gzip.GzipFile(fileobj=source, mode="rb"), packed_bytes=size)  # type: ignore[return-value]


class Unpacked(io.RawIOBase):
    """Reads on as long as what comes out stays in proportion to what went in.

    Raises TooLarge where it doesn't, and Unprocessable where the archive is damaged.
    """

    def __init__(self, inner: Any, *, packed_bytes: int) -> None:
        super().__init__()
        self._inner = inner
        self._packed = packed_bytes
        self._given = 0

    def readable(self) -> bool:
        """It is all that it can be."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Some bytes; none at the end."""
        try:
            data: bytes = self._inner.read(size)
        except (EOFError, zlib.error, zipfile.BadZipFile, gzip.BadGzipFile, OSError) as error:
            raise damaged("archive") from error
        self._given += len(data)
        _check_size(self._given, self._packed)
        return data


def _check_size(unpacked: int, packed: int) -> None:
    ratio = unpacked / max(packed, 1)
    if unpacked > MAX_UNPACKED_BYTES or (unpacked > _RATIO_COUNTS_FROM and ratio > _MAX_RATIO):
        raise TooLarge(
            "The archive unpacks to far more than a table of its size would. Send the CSV file itself.",
            code="unpacks_too_large",
        )


def damaged(what: str) -> MillraceError:
    """It can't be unpacked."""
    return Unprocessable(
        f"The {what} is damaged or cut short. Make it again and send it again.",
        code="damaged_archive",
    )


def _is_clutter(name: str) -> bool:
    last = name.rsplit("/", 1)[-1]
    return (
        name.startswith("__MACOSX/") or last.startswith(".") or last in {"Thumbs.db", "desktop.ini"}
    )


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name[:100]) for name in names[:_LISTED])
    return shown if len(names) <= _LISTED else f"{shown}, and {len(names) - _LISTED} more"
