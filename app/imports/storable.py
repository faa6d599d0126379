"""What the database's text can hold: no NUL, no lone surrogates (bytes that were no characters), and no more
than is asked for.
"""

from collections.abc import Sequence

from app.imports.values import Fault

_NUL = Fault("nul_character", "The value has a NUL character in it; remove it.")
_BYTES = Fault(
    "not_utf8",
    "The value has bytes in it that are no characters in the file's encoding; save the file as 'CSV UTF-8'.",
)


def unstorable(cells: Sequence[str], whole: str, max_chars: int) -> dict[int, Fault]:
    """The cells that can't be kept, by position. `whole` is all of them in one."""
    short = len(whole) <= max_chars or max(map(len, cells)) <= max_chars
    if short and "\x00" not in whole and is_characters(whole):
        return {}
    found = ((position, _fault(cell, max_chars)) for position, cell in enumerate(cells))
    return {position: fault for position, fault in found if fault}


def _fault(cell: str, max_chars: int) -> Fault | None:
    if len(cell) > max_chars:
        message = f"The value has {len(cell)} characters; at most {max_chars} are kept."
        return Fault("too_long", message)
    if "\x00" in cell:
        return _NUL
    return None if is_characters(cell) else _BYTES


def is_characters(text: str) -> bool:
    """Whether there are no lone surrogates in it, which stand for bytes that were no characters."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def storable(cell: str) -> str:
    """The cell as it can be kept: what the database can't hold becomes the replacement character."""
    if cell.isascii() and "\x00" not in cell:
        return cell
    readable = cell.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return readable.replace("\x00", "\N{REPLACEMENT CHARACTER}")
