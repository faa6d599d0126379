"""Logging: one constant event name per line, with ids beside it; readable in a terminal, JSON elsewhere.

No line holds what customers sent, nor a secret: events are names, what stands beside them are ids, figures and
types, and of an exception its types and frames, never its message.
"""

import json
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar, Token
from dataclasses import dataclass
from types import TracebackType

import psycopg
import structlog
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from app.errors import Unavailable
from app.settings import Settings

MAX_FRAMES = 30
MAX_FOREIGN_CHARS = 500
_OF_CONNECTIONS = (
    *(OperationalError, InterfaceError, psycopg.OperationalError),
    *(OSError, Unavailable),
)
"""What these say is about servers, addresses and times, and not about what customers sent."""


class _Stdout(logging.Handler):
    """Standard output, whatever that is when a line is written."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.write(self.format(record))
        except Exception:  # noqa: BLE001 - as every handler of the library does
            self.handleError(record)

    def write(self, line: str) -> None:
        """One line at a time, and at once."""
        with self.lock or nullcontext():
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()


@dataclass(slots=True)
class _Out:
    """Where lines go, and in which form. Loggers keep what they were configured with first, so this is one
    thing that changes.
    """

    handler: _Stdout
    renderer: structlog.typing.Processor


_encode = json.JSONEncoder(default=str).encode
_json = structlog.processors.JSONRenderer(serializer=lambda line, **_: _encode(line))
_out = _Out(_Stdout(), _json)
Ids = MutableMapping[str, object]
_ids: ContextVar[Mapping[str, object] | None] = ContextVar("ids", default=None)


def bind(ids: Ids) -> Token[Mapping[str, object] | None]:
    """From here on every line has these ids, and what is put into them later; until `unbind`.

    One variable for all of them: structlog has one for each, which costs every job as much as its line.
    """
    outer = _ids.get()
    if outer:
        for name, value in outer.items():
            ids.setdefault(name, value)
    return _ids.set(ids)


def unbind(token: Token[Mapping[str, object] | None]) -> None:
    """Lines have what they had before."""
    _ids.reset(token)


@contextmanager
def bound(**ids: object) -> Iterator[None]:
    """As `bind` and `unbind`, around a block."""
    token = bind(ids)
    try:
        yield
    finally:
        unbind(token)


def _with_ids(
    _logger: structlog.typing.WrappedLogger, _method: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    for name, value in (_ids.get() or {}).items():
        line.setdefault(name, value)
    return line


def cause(error: BaseException) -> str:
    """What went wrong, for a log: types, SQLSTATE, and the first line only of what says nothing of anybody's data.

    An exception's message may quote what was being worked on: a row, a statement's parameters, a token. The
    whole of a job's error is in the ledger, which knows whose it is.
    """
    said: list[str] = []
    for name in map(_name, _chain(error)):
        if not said or name not in said[-1]:
            said.append(name)
    return " from ".join(said)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        hidden = None if error.__suppress_context__ else error.__context__
        error = error.__cause__ or hidden


def _name(error: BaseException) -> str:
    name = type(error).__name__
    original = error.orig if isinstance(error, DBAPIError) else None
    state = getattr(original or error, "sqlstate", None)
    if state:
        name = f"{name}[{state}]"
    if isinstance(error, _OF_CONNECTIONS) and state is None:
        lines = str(original or error).strip().splitlines()
        return f"{name}: {lines[0]}" if lines else name
    return name


def configure_logging(settings: Settings) -> None:
    """Route structlog's lines and the standard library's to standard output, in one shape.

    Ours are written at once, and take a third of what they would take through a record, a caller that is looked for and a
    formatter: every job has one.
    """
    shared: list[structlog.typing.Processor] = [
        _with_ids,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_message,
    ]
    renderer: structlog.typing.Processor = (
        _json if settings.log_json else structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
    )
    handler = _Stdout()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _foreign],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    _out.handler, _out.renderer = handler, renderer
    structlog.configure(
        # First: a line below the level must cost nothing.
        processors=[structlog.stdlib.filter_by_level, *shared, _write],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for noisy in ("botocore", "boto3", "urllib3", "amqp", "s3transfer", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _write(
    logger: structlog.typing.WrappedLogger, method: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """The line where the handler would write it, one at a time; nothing more is done with it."""
    _out.handler.write(str(_out.renderer(logger, method, line)))
    raise structlog.DropEvent


def _foreign(
    _logger: structlog.typing.WrappedLogger, _method: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Other libraries' lines in the same shape: the event is the logger's name, which is constant; their
    sentence stands beside it. Its first line alone: what follows may be a message's body.
    """
    words = str(line.get("event", "")).strip().splitlines()
    line["message"] = words[0][:MAX_FOREIGN_CHARS] if words else ""
    line["event"] = line.get("logger", "log")
    return line


def _without_message(
    _logger: structlog.typing.WrappedLogger, _method: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """An exception as its cause and where it was raised."""
    raised = line.pop("exc_info", None)
    if raised is True:
        raised = sys.exc_info()[1]
    elif isinstance(raised, tuple):
        raised = raised[1]
    if isinstance(raised, BaseException):
        line["error"] = cause(raised)
        line["frames"] = _frames(raised.__traceback__)
    return line


def _frames(trace: TracebackType | None) -> list[str]:
    """Innermost last, without the lines' text."""
    found = traceback.extract_tb(trace)[-MAX_FRAMES:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in found]
