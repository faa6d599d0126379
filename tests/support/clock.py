"""What is long ago, and yesterday: rows are moved into the past instead of waiting, and clocks are put forward."""

from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, text


class Clock:
    """In seconds; stands still until it is put forward."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        return self._now

    def forward(self, seconds: float) -> None:
        self._now += seconds


def today(engine: Engine, zone_name: str) -> date:
    """By the database's clock."""
    with engine.connect() as tx:
        now: datetime = tx.execute(text("SELECT clock_timestamp()")).scalar_one()
    return now.astimezone(ZoneInfo(zone_name)).date()


def local(day: date, clock: str, zone_name: str) -> datetime:
    """That time of that day in the zone."""
    return datetime.fromisoformat(f"{day.isoformat()}T{clock}").replace(tzinfo=ZoneInfo(zone_name))


def set_columns(engine: Engine, table: str, row_id: UUID, **columns: Any) -> None:
    names = ", ".join(f"{name} = :{name}" for name in columns)
    with engine.begin() as tx:
        done = tx.execute(
            text(f"UPDATE {table} SET {names} WHERE id = :id"),  # noqa: S608
            {"id": row_id, **columns},
        )
    assert done.rowcount == 1


def days_ago(engine: Engine, days: float) -> datetime:
    with engine.connect() as tx:
        now: datetime = tx.execute(text("SELECT clock_timestamp()")).scalar_one()
    return now - timedelta(days=days)
