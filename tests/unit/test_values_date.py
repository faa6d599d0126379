"""Dates as people write them; what could be two days is not guessed."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.imports.values import Column, Date, Parsed, ValueOptions


def parse(*cells: str, order: str | None = None) -> Parsed:
    return Date().parse(Column(cells), ValueOptions.model_validate({"date_order": order}))


def one(cell: str, order: str | None = None) -> str:
    """The day in ISO 8601, or the fault's code."""
    parsed = parse(cell, order=order)
    return parsed.faults[0].code if parsed.faults else parsed.values[0]


CLEAR = [
    *("2024-02-01", "2024-2-1", "2024/02/01", "2024.02.01", "20240201", "1.2.2024", "01.02.24"),
    *("1-Feb-2024", "1 Feb 24", "01. Februar 2024", "1er février 2024", "1 de febrero de 2024"),
    *("Feb 1, 2024", "February 1st, 2024", "Thursday, February 1, 2024", "Thu 1 Feb 2024"),
    *("2024-02-01 00:00:00", "2024-02-01T00:00:00Z", "2024-02-01T00:00:00.000+00:00"),
    *("1 februari 2024", "1 febbraio 2024", "1 de fevereiro de 2024", "\xa01.\xa02.\xa02024"),
]


@pytest.mark.parametrize("cell", CLEAR)
def test_what_can_only_be_one_day_is_read(cell: str) -> None:
    assert one(cell) == "2024-02-01"


@pytest.mark.parametrize("cell", ["13/02/2024", "02/13/2024", "13-02-2024", "13/2/24"])
def test_a_day_over_twelve_tells_the_order(cell: str) -> None:
    assert one(cell) == "2024-02-13"


def test_day_and_month_in_doubt_need_the_option() -> None:
    assert one("03/04/2024") == "ambiguous_date"
    assert one("03/04/2024", "dmy") == "2024-04-03"
    assert one("03/04/2024", "mdy") == "2024-03-04"
    assert one("03/03/2024") == "2024-03-03"
    assert one("24-01-02", "ymd") == "2024-01-02"
    (fault,) = parse("03/04/2024").faults.values()
    assert "2024-03-04 or 2024-04-03" in fault.message
    assert "date_order" in fault.message


def test_the_option_is_held_strictly() -> None:
    assert one("13/02/2024", "mdy") == "invalid_date"
    assert one("02/13/2024", "dmy") == "invalid_date"
    assert one("02.13.2024") == "invalid_date"
    assert one("02.13.2024", "mdy") == "2024-02-13"
    assert one("2024-02-13", "mdy") == "2024-02-13"


NO_DATES = [
    "hello",
    "2024-02-30",
    "2023-02-29",
    "45000",
    "0000-01-01",
    "2024-13-01",
    "1/2",
    "\x00",
    "\udc80",
]


@pytest.mark.parametrize(
    "cell", [*NO_DATES, "1 Foo 2024", "2024-01-021", "x" * 500, "1\n2", "99999999"]
)
def test_what_is_no_day_is_rejected(cell: str) -> None:
    assert one(cell) == "invalid_date"
    (fault,) = parse("2024-01-01", cell).faults.values()
    assert fault.message.encode().endswith(b".")


def test_a_time_of_day_is_not_lost_in_silence() -> None:
    (fault,) = parse("2024-01-02 10:00").faults.values()
    assert "time of day" in fault.message


@settings(deadline=None)
@given(
    day=st.dates(date(1970, 1, 1), date(2068, 12, 31)), order=st.sampled_from([None, "dmy", "mdy"])
)
def test_every_day_is_read_back(day: date, order: str | None) -> None:
    assert one(day.isoformat(), order) == day.isoformat()
    assert one(f"{day:%d/%m/%Y}", "dmy") == day.isoformat()
    assert one(f"{day:%m/%d/%y}", "mdy") == day.isoformat()
    assert one(f"{day:%d %B %Y}", order) == day.isoformat()
    assert one(f"{day:%m/%d/%Y}") in {day.isoformat(), "ambiguous_date"}


def test_a_column_shows_its_order() -> None:
    kind = Date()
    assert kind.evidence(["03/04/2024", "13/04/2024"]) == {("date_order", "dmy")}
    assert kind.evidence(["03/04/2024", "04/13/2024"]) == {("date_order", "mdy")}
    assert kind.evidence(["03/04/2024", "2024-01-02", "1 Feb 2024", "x"]) == set()
    assert len(kind.evidence(["13/04/2024", "04/13/2024"])) == 2
