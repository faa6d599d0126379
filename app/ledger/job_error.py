"""Why a job did not succeed, in a form that the database takes and a person reads."""

import traceback
from pathlib import Path
from typing import Any

MAX_MESSAGE_CHARS = 2000
MAX_TRACEBACK_CHARS = 8000

JobError = dict[str, str]
"""`code` and `message`; `type`, `frame` and `traceback` as well where an exception was raised."""

_LIBRARIES = ("site-packages", "dist-packages")
_STANDARD_LIBRARY = str(Path(traceback.__file__).parent)


def job_error(code: str, message: str) -> JobError:
    """An error that nobody raised."""
    return {"code": printable(str(code)), "message": printable(message)[:MAX_MESSAGE_CHARS]}


def describe_exception(error: BaseException, code: str) -> JobError:
    """An exception, with where it came from: the innermost frame outside of libraries, without its
    line, so that it stays the same when the file around it changes.
    """
    trace = "".join(traceback.format_exception(error))
    return {
        **job_error(code, _words(error) or type(error).__name__),
        "type": type(error).__name__,
        "frame": _frame(error),
        "traceback": printable(trace)[-MAX_TRACEBACK_CHARS:],
    }


def printable(text: str) -> str:
    """The text with what PostgreSQL can't store (NUL, lone surrogates) written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def printable_json(value: Any) -> Any:
    """The same for every text in a JSON value."""
    match value:
        case dict():
            return {printable(name): printable_json(item) for name, item in value.items()}
        case list():
            return [printable_json(item) for item in value]
        case str():
            return printable(value)
    return value


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception that can't say what it is; its type has to do
        return ""


def _frame(error: BaseException) -> str:
    own = inner = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        inner = f"{frame.f_globals.get('__name__', '?')}:{code.co_qualname}"
        if not _is_library(code.co_filename):
            own = inner
    return own or inner


def _is_library(filename: str) -> bool:
    return filename.startswith(("<", _STANDARD_LIBRARY)) or any(
        folder in filename for folder in _LIBRARIES
    )
