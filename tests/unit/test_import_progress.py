"""The time that is left is told when it is known, and from what happened lately."""

from datetime import UTC, datetime, timedelta
from typing import Any

from app.imports.progress import Estimate, estimate

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FACTS: dict[str, Any] = {
    "status": "running",
    "ticked_at": NOW,
    "recent_rows": 5000.0,
    "recent_seconds": 5.0,
    "rows_done": 10_000,
    "total": 30_000,
    "planned_at": NOW,
    "bytes_done": 100,
    "bytes_total": 1000,
}


def test_from_the_rate_and_the_rows_that_are_left() -> None:
    assert estimate(FACTS, NOW) == Estimate(1000.0, 20)


def test_until_it_is_planned_from_the_bytes() -> None:
    facts = {**FACTS, "planned_at": None, "total": 12_000}
    assert estimate(facts, NOW) == Estimate(1000.0, 90)


def test_an_import_that_stands_still_gets_slower() -> None:
    later = NOW + timedelta(seconds=15)
    assert estimate(FACTS, later) == Estimate(250.0, 80)


def test_nothing_is_told_before_it_can_be_known_or_after_the_end() -> None:
    unknown = Estimate(None, None)
    assert estimate({**FACTS, "ticked_at": None}, NOW) == unknown
    assert estimate({**FACTS, "recent_rows": 0.0}, NOW) == unknown
    assert estimate({**FACTS, "recent_seconds": 0.2}, NOW) == unknown
    assert estimate({**FACTS, "status": "succeeded"}, NOW) == unknown


def test_more_rows_than_were_planned_are_no_negative_time() -> None:
    assert estimate({**FACTS, "rows_done": 40_000}, NOW) == Estimate(1000.0, 0)
