"""How templates write figures and times. All times are UTC."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

MINUTE, HOUR, DAY = 60, 3600, 86400
AT_ONCE_SECONDS = 0.0005
NONE = "\N{EN DASH}"


def moment(time: datetime | None) -> str:
    """To the second."""
    return NONE if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def span(seconds: float | None) -> str:
    """As exact as anybody wants to know: "40 ms", "3.2 s", "12 min", "3 h 20 min", "5 d 2 h"."""
    if seconds is None:
        return NONE
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds >= AT_ONCE_SECONDS else "0 s"
    if seconds < 2 * MINUTE:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004 - one digit
    return _long(round(seconds))


def _long(seconds: int) -> str:
    if seconds < 2 * HOUR:
        return f"{seconds // MINUTE} min"
    if seconds < 2 * DAY:
        return f"{seconds // HOUR} h {seconds % HOUR // MINUTE} min"
    return f"{seconds // DAY} d {seconds % DAY // HOUR} h"


def ago(time: datetime | None, now: datetime) -> str:
    """How long since, or until."""
    if time is None:
        return NONE
    seconds = (now - time).total_seconds()
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"


def between(start: datetime | None, end: datetime | None) -> str:
    """How long it took."""
    if start is None or end is None:
        return NONE
    return span(max(timedelta(0), end - start).total_seconds())


def figure(number: float | None) -> str:
    """With its thousands apart."""
    if number is None:
        return NONE
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.1f}"


def short(identity: UUID | str | None) -> str:
    """The end of an id, where two differ: the front of these is the time."""
    return NONE if identity is None else f"…{str(identity)[-8:]}"
