"""What others tell the traces. Nothing happens, and we import nothing of OpenTelemetry, unless they are on.

    with spans.client("POST", {"server.address": host}): ...

Never told: payloads, parameters of statements, paths, queries of URLs, messages of exceptions.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from app.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from app.traces.live import Live

Facts = Mapping[str, str | int | float | bool]
"""A span's attributes."""


class Due(Protocol):
    """A job that is about to be published. `attempt` is the number of attempts made so far."""

    @property
    def id(self) -> UUID: ...  # noqa: D102

    @property
    def kind(self) -> str: ...  # noqa: D102

    @property
    def queue(self) -> str: ...  # noqa: D102

    @property
    def attempt(self) -> int: ...  # noqa: D102

    @property
    def traceparent(self) -> str | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a worker knows when an attempt begins. `message` is what the message carries, `origin` what the
    job's row has; `alone`: the message is for no other job. `began` is in nanoseconds since the epoch.
    """

    id: UUID
    kind: str
    attempt: int
    message: str | None
    origin: str | None
    alone: bool
    began: int


@dataclass(frozen=True, slots=True)
class Sent:
    """A message on its way: what it carries, and the span that ends with the broker's word."""

    traceparent: str | None
    span: "Span | None" = None

    def end(self, *, confirmed: bool) -> None:
        """The broker has it, or has refused it."""
        if self.span is not None:
            if not confirmed:
                self.span.set_attribute("error.type", "refused")
            self.span.end()


class _Here:
    """What this process has."""

    live: "Live | None" = None


def begin(settings: Settings, service: str) -> None:
    """Trace from now on, if the settings say so. In a process that forks: in each child, after the fork."""
    if settings.otlp_endpoint is not None and _Here.live is None:
        from app.traces.live import Live

        _Here.live = Live(settings, service)


def prepare(settings: Settings) -> None:
    """Before a fork: import what the children will need, so that they share it."""
    if settings.otlp_endpoint is not None:
        import app.traces.live  # noqa: F401


def end() -> None:
    """Send what is left, for a second at most, and trace no more."""
    live, _Here.live = _Here.live, None
    if live is not None:
        live.close()


def live() -> "Live | None":
    """What traces here; None when nothing does."""
    return _Here.live


def carried() -> str | None:
    """The traceparent of the current span, recorded or not; None outside of one."""
    return None if _Here.live is None else _Here.live.carried()


def carried_by(span: "Span | None") -> str | None:
    """What a request of ours carries: `span`'s own traceparent, or else the current one."""
    if _Here.live is None:
        return None
    return _Here.live.carried() if span is None else _Here.live.place_of(span)


def note(facts: Facts) -> None:
    """Add to the current span."""
    if _Here.live is not None:
        _Here.live.note(facts)


def recording() -> bool:
    """Whether the current span is being recorded."""
    return _Here.live is not None and _Here.live.recording()


def fail(code: str) -> None:
    """What the current span is about went wrong; `code` quotes nothing."""
    if _Here.live is not None:
        _Here.live.fail(code)


def start(name: str, facts: Facts) -> "Span | None":
    """A span of a call to another system, to be given to `finish`. None unless the current one is recorded."""
    return None if _Here.live is None else _Here.live.child(name, facts)


def finish(span: "Span | None", error: BaseException | None = None) -> None:
    """The call is over."""
    if span is None:
        return
    if error is not None:
        from app.traces.live import blame

        blame(span, error)
    span.end()


@contextmanager
def client(name: str, facts: Facts) -> Iterator["Span | None"]:
    """As `start` and `finish`."""
    span = start(name, facts)
    try:
        yield span
    except BaseException as error:
        finish(span, error)
        raise
    finish(span)


@contextmanager
def enqueuing(kinds: Sequence[str], traceparent: str | None) -> Iterator[str | None]:
    """Around the enqueuing of jobs; gives the traceparent that they are to have. `traceparent` is what they
    come from where there is no current span.
    """
    if _Here.live is None:
        yield traceparent
    else:
        with _Here.live.enqueuing(kinds, traceparent) as given:
            yield given


def send(group: Sequence[Due]) -> Sent:
    """The jobs of one message are about to be published."""
    if _Here.live is None:
        return Sent(group[0].traceparent)
    return _Here.live.send(group)


def trace_id_of(traceparent: str | None) -> str | None:
    """As logs and users of the traces write it."""
    return None if traceparent is None else traceparent.split("-")[1]
