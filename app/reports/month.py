"""A calendar month, by a tenant's clock."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Month:
    """`first` is its first day."""

    first: date
    zone: ZoneInfo

    @classmethod
    def named(cls, name: str, zone: ZoneInfo) -> "Month":
        """Such as 2026-10."""
        return cls(date.fromisoformat(f"{name}-01"), zone)

    @classmethod
    def before(cls, moment: datetime, zone: ZoneInfo) -> "Month":
        """The last whole month before the moment."""
        this = moment.astimezone(zone).date().replace(day=1)
        return cls((this - timedelta(days=1)).replace(day=1), zone)

    @property
    def name(self) -> str:
        """Such as 2026-10."""
        return f"{self.first:%Y-%m}"

    @property
    def title(self) -> str:
        """Such as October 2026."""
        return f"{_NAMES[self.first.month - 1]} {self.first.year}"

    @property
    def days(self) -> list[date]:
        """Each of them."""
        number = (self._next - self.first).days
        return [self.first + timedelta(days=day) for day in range(number)]

    @property
    def begin(self) -> datetime:
        """The first moment that belongs to it."""
        return _midnight(self.first, self.zone)

    @property
    def end(self) -> datetime:
        """The first moment that doesn't any more."""
        return _midnight(self._next, self.zone)

    @property
    def _next(self) -> date:
        return (self.first + timedelta(days=31)).replace(day=1)


_NAMES = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)
"""Not the locale's: the report's language is English."""


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """When the day begins, also where its first hour is skipped or comes twice."""
    return datetime.combine(day, time.min, zone).astimezone(UTC)
