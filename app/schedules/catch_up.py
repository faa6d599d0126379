"""Which slots to fire now, and when to look again. Pure: the clock is an argument."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice, takewhile

from app.schedules.cron import Timetable

GRACE = timedelta(seconds=60)
"""A slot that is no later than this is on time for every policy: a restart is no downtime."""
ALL_PER_ROUND = 100
"""How many missed slots of one schedule a round fires; the next round goes on from there."""
_FIRST_LOOK_BACK = timedelta(minutes=2)


class CatchUp(StrEnum):
    """What happens to the slots that nobody was there to fire."""

    NONE = "none"
    LAST = "last"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """`slots` to fire, oldest first, and the first slot after them; None when the timetable has ended."""

    slots: tuple[datetime, ...]
    next_at: datetime | None


def firing(table: Timetable, policy: CatchUp, *, next_at: datetime, now: datetime) -> Firing:
    """What is due of a schedule whose first unfired slot is `next_at`.

    NONE fires what is within GRACE and skips the rest, LAST fires only the newest slot, ALL fires every
    one, at most ALL_PER_ROUND at a time: `next_at` is then still in the past.
    """
    if now < next_at:
        return Firing(slots=(), next_at=next_at)
    match policy:
        case CatchUp.NONE:
            slots = tuple(_due(table, max(next_at, now - GRACE), now))
        case CatchUp.LAST:
            slots = _newest(table, next_at, now)
        case CatchUp.ALL:
            slots = tuple(islice(_due(table, next_at, now), ALL_PER_ROUND))
    whole = len(slots) < ALL_PER_ROUND
    return Firing(slots=slots, next_at=table.next_after(now if whole else slots[-1]))


def _due(table: Timetable, begin: datetime, now: datetime) -> Iterator[datetime]:
    """The slots from `begin` to `now`, both included."""
    return takewhile(lambda slot: slot <= now, table.after(begin - timedelta(microseconds=1)))


def _newest(table: Timetable, next_at: datetime, now: datetime) -> tuple[datetime, ...]:
    """The last slot up to `now`, looked for further and further back, so that a minute's schedule needn't
    walk through the months that it has missed.
    """
    look_back = _FIRST_LOOK_BACK
    while True:
        begin = max(next_at, now - look_back)
        due = tuple(_due(table, begin, now))
        if due or begin == next_at:
            return due[-1:]
        look_back *= 8
