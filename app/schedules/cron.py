"""When a cron expression comes round. Pure: the clock is an argument, a slot is an instant in UTC.

cronsim reads the expression and walks the calendar as Debian's cron does. What daylight saving time does
to a slot depends on how often the expression runs:

- at fixed times (`30 2 * * *`): a time that the clocks skip comes right after the gap, a time that they
  show twice comes the first time;
- by the minute or hour (`*` at the start of the minute or hour field): whenever the clock shows it.
"""

import difflib
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from app.errors import Unprocessable

FIELDS = 5
MAX_CHARS = 200
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Timetable:
    """An expression in a time zone, both checked: `timetable` makes them."""

    cron: str
    zone: ZoneInfo

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The slots later than `moment`, in order, in UTC; the iterator ends where none is left within
        fifty years.
        """
        if _is_fixed(self.cron):
            return _at_fixed_times(self.cron, self.zone, moment)
        return _by_the_clock(self.cron, self.zone, moment)

    def next_after(self, moment: datetime) -> datetime | None:
        """The first slot later than `moment`."""
        return next(self.after(moment), None)


def timetable(cron: str, zone_name: str) -> Timetable:
    """Raises Unprocessable for an expression or a zone that can't be used, and says what to do."""
    return Timetable(_checked(cron), zone(zone_name))


def zone(name: str) -> ZoneInfo:
    """The zone of the IANA database. Raises Unprocessable."""
    if name not in _zone_names():
        near = difflib.get_close_matches(name, _zone_names(), n=1)
        hint = f"Did you mean {near[0]!r}?" if near else "Use an IANA name such as 'Europe/Berlin'."
        raise Unprocessable(f"There is no time zone {name!r}. {hint}", code="unknown_timezone")
    return ZoneInfo(name)


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


@lru_cache(maxsize=1024)
def _checked(cron: str) -> str:
    words = cron.split()
    if len(words) != FIELDS or len(cron) > MAX_CHARS:
        raise _bad(f"{cron[:MAX_CHARS]!r} is no cron expression.")
    try:
        sample = next(CronSim(cron, datetime(2000, 1, 1)), None)  # noqa: DTZ001 - a wall clock
    except CronSimError as error:
        raise _bad(f"{cron!r} is no cron expression: {str(error).lower()}.") from None
    if sample is None:
        raise _bad(f"{cron!r} never comes round.")
    return " ".join(words)


def _bad(problem: str) -> Unprocessable:
    return Unprocessable(
        f"{problem} Give five fields, minute hour day-of-month month day-of-week, such as "
        "'30 8 * * MON-FRI'.",
        code="invalid_cron",
    )


def _is_fixed(cron: str) -> bool:
    minute, hour, *_ = cron.split()
    return not minute.startswith("*") and not hour.startswith("*")


def _at_fixed_times(cron: str, zone: ZoneInfo, moment: datetime) -> Iterator[datetime]:
    """As cronsim has them. Begun in an hour that comes twice, it would go back to the first one."""
    for local in CronSim(cron, moment.astimezone(zone)):
        slot = local.astimezone(UTC)
        if slot > moment:
            yield slot


def _by_the_clock(cron: str, zone: ZoneInfo, moment: datetime) -> Iterator[datetime]:
    """A zone is a row of fixed offsets, and under one of them no day is special.

    cronsim alone skips slots in the hour after a shift by half an hour (Australia/Lord_Howe).
    """
    begin = moment.astimezone(UTC)
    while True:
        offset = _offset(zone, begin + _SECOND)
        for local in CronSim(cron, begin.replace(tzinfo=None) + offset):
            slot = (local - offset).replace(tzinfo=UTC)
            shift = _first_shift(zone, begin, slot)
            if shift is not None:
                begin = shift - _SECOND
                break
            yield slot
            begin = slot
        else:
            return


def _first_shift(zone: ZoneInfo, begin: datetime, end: datetime) -> datetime | None:
    """The first moment after `begin`, up to `end`, from which another offset is in force. No zone shifts
    and shifts back within a day.
    """
    same = begin + _SECOND
    offset = _offset(zone, same)
    while same < end:
        other = min(same + _DAY, end)
        if _offset(zone, other) != offset:
            break
        same = other
    else:
        return None
    while other - same > _SECOND:
        middle = same + (other - same) // 2
        same, other = (same, middle) if _offset(zone, middle) != offset else (middle, other)
    return other.replace(microsecond=0)


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()
