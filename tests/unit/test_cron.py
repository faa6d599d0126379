"""Cron: slots against a clock that is looked at minute by minute, also where it jumps."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import example, given
from hypothesis import strategies as st

from app.errors import Unprocessable
from app.schedules.cron import timetable

MINUTE = timedelta(minutes=1)
JUMPS = {
    # An hour at night, on both sides of the Atlantic.
    "Europe/Berlin": ("2026-03-29T01", "2026-10-25T01"),
    "America/New_York": ("2026-03-08T07", "2026-11-01T06"),
    # At midnight, so that a day begins at one o'clock.
    "America/Santiago": ("2026-04-05T03", "2026-09-06T04"),
    "Africa/Cairo": ("2026-04-23T22", "2026-10-29T21"),
    # By half an hour.
    "Australia/Lord_Howe": ("2026-04-04T15", "2026-10-03T15:30"),
    # Backwards in spring, for a month; by an odd offset; never.
    "Africa/Casablanca": ("2026-02-15T02", "2026-03-22T02"),
    "America/St_Johns": ("2026-03-08T05:30", "2026-11-01T04:30"),
    "Asia/Kathmandu": ("2026-03-29", "2026-10-25"),
    # Over a whole day: there was no 30 December 2011.
    "Pacific/Apia": ("2011-12-30T10", "2011-09-24T14"),
}


@st.composite
def moments(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone, and a second in the day and a half around one of its jumps."""
    zone_name = draw(st.sampled_from(list(JUMPS)))
    jump = datetime.fromisoformat(draw(st.sampled_from(JUMPS[zone_name]))).replace(tzinfo=UTC)
    return zone_name, jump + timedelta(seconds=draw(st.integers(-30 * 3600, 5 * 3600)))


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    step = st.sampled_from([2, 3, 5, 10, 15]).map(lambda n: f"*/{n}")
    several = st.lists(number, min_size=1, max_size=3).map(lambda some: ",".join(map(str, some)))
    return st.one_of(st.just("*"), number.map(str), span, step, several)


expressions = st.tuples(
    field(0, 59), field(0, 23), st.just("*"), st.just("*"), st.sampled_from(["*", "*", "1-5", "0"])
).map(" ".join)


def by_looking(cron: str, zone: ZoneInfo, after: datetime, until: datetime) -> list[datetime]:
    """The slots, found without any library's calendar: one minute after the other."""
    expression = CronSim(cron, datetime(2000, 1, 1))  # noqa: DTZ001 - a wall clock

    def fits(local: datetime) -> bool:
        return (
            local.hour in expression.hours
            and local.minute in expression.minutes
            and local.month in expression.months
            and expression.match_day(local.date())
        )

    minute, hour, *_ = cron.split()
    if minute.startswith("*") or hour.startswith("*"):
        shown = {at: at.astimezone(zone) for at in minutes(after, until)}
        return [at for at, local in shown.items() if fits(local)]
    a_day = timedelta(days=1, hours=4)
    begin, end = (at.astimezone(zone).replace(tzinfo=None) for at in (after, until))
    walls = (at for at in minutes(begin - a_day, end + a_day) if fits(at))
    return sorted({at for at in (first_shown(wall, zone) for wall in walls) if after < at <= until})


def minutes(after: datetime, until: datetime) -> Iterator[datetime]:
    at = after.replace(second=0, microsecond=0) + MINUTE
    while at <= until:
        yield at
        at += MINUTE


def first_shown(wall: datetime, zone: ZoneInfo) -> datetime:
    """When the clock first shows that time or, where it never does, the first one after it."""
    while wall.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) != wall:
        wall += MINUTE
    return wall.replace(tzinfo=zone).astimezone(UTC)


@given(cron=expressions, moment=moments())
@example(cron="30 2 * * *", moment=("Europe/Berlin", datetime(2026, 3, 29, 0, tzinfo=UTC)))
@example(cron="30 2 * * *", moment=("Europe/Berlin", datetime(2026, 10, 25, 1, 5, tzinfo=UTC)))
@example(cron="*/10 3 * * *", moment=("Australia/Lord_Howe", datetime(2026, 4, 4, tzinfo=UTC)))
def test_the_slots_are_those_that_the_clock_shows(cron: str, moment: tuple[str, datetime]) -> None:
    zone_name, after = moment
    until = after + timedelta(days=2)
    slots = takewhile(lambda slot: slot <= until, timetable(cron, zone_name).after(after))
    assert list(slots) == by_looking(cron, ZoneInfo(zone_name), after, until)


@given(cron=expressions, moment=moments())
def test_it_does_not_matter_where_one_begins_to_count(
    cron: str, moment: tuple[str, datetime]
) -> None:
    """Each slot is the next one after its predecessor, so that nothing is fired twice or left out."""
    zone_name, after = moment
    table = timetable(cron, zone_name)
    slots = list(islice(table.after(after), 20))
    assert after < slots[0]
    for slot, following in pairwise(slots):
        assert slot < following
        assert table.next_after(slot) == following
        assert table.next_after(following - timedelta(microseconds=1)) == following


def local_slots(cron: str, zone_name: str, after: datetime, count: int) -> list[str]:
    zone = ZoneInfo(zone_name)
    slots = timetable(cron, zone_name).after(after.astimezone(zone))
    return [f"{slot.astimezone(zone):%m-%d %H:%M %z}" for slot in islice(slots, count)]


@pytest.mark.parametrize(
    ("cron", "after", "slots"),
    [
        # Berlin has no 02:30 on 29 March: it comes right after the gap.
        ("30 2 * * *", "03-28T12:00+01:00", ["03-29 03:00 +0200", "03-30 02:30 +0200"]),
        # Two of them make one slot.
        ("15,45 2 * * *", "03-28T12:00+01:00", ["03-29 03:00 +0200", "03-30 02:15 +0200"]),
        # It has 02:30 twice on 25 October: the first one counts.
        ("30 2 * * *", "10-24T12:00+02:00", ["10-25 02:30 +0200", "10-26 02:30 +0100"]),
        # What runs by the hour runs every hour that there is.
        ("0 * * * *", "03-29T00:30+01:00", ["03-29 01:00 +0100", "03-29 03:00 +0200"]),
        ("30 * * * *", "10-25T02:00+02:00", ["10-25 02:30 +0200", "10-25 02:30 +0100"]),
        # Eight in the morning is eight in the morning.
        ("0 8 * * *", "03-28T12:00+01:00", ["03-29 08:00 +0200", "03-30 08:00 +0200"]),
    ],
)
def test_daylight_saving_time_in_berlin(cron: str, after: str, slots: list[str]) -> None:
    begin = datetime.fromisoformat(f"2026-{after}")
    assert local_slots(cron, "Europe/Berlin", begin, 2) == slots


def test_rare_days_are_found() -> None:
    first = next(timetable("0 0 29 2 *", "UTC").after(datetime(2026, 3, 1, tzinfo=UTC)))
    fifth_monday = timetable("* * * 2 MON#5", "America/New_York")
    assert first == datetime(2028, 2, 29, tzinfo=UTC)
    assert fifth_monday.next_after(datetime(2026, 3, 1, tzinfo=UTC)) == datetime(
        2044, 2, 29, 5, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "cron",
    [
        "",
        "nonsense",
        "@daily",
        "0 8 * *",
        "0 0 8 * * *",
        "60 8 * * *",
        "0 24 * * *",
        "0 0 30 2 *",
        "*/0 * * * *",
        "5-1 * * * *",
        "0 0 * * XYZ",
        "\x00 * * * *",
        "0 " * 200,
        "² * * * *",
    ],
)
def test_what_is_no_expression_is_refused_with_an_example(cron: str) -> None:
    with pytest.raises(Unprocessable, match="five fields") as refused:
        timetable(cron, "UTC")
    assert refused.value.code == "invalid_cron"


@given(cron=st.text(alphabet="0123456789*/-,#LWMONADEC \x00ß", max_size=40))
def test_no_text_breaks_it(cron: str) -> None:
    try:
        table = timetable(cron, "Europe/Berlin")
    except Unprocessable:
        return
    assert table.next_after(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("zone_name", "hint"),
    [
        ("Europe/Berln", "Did you mean 'Europe/Berlin'"),
        ("MESZ-2", "IANA name"),
        ("", "IANA name"),
        ("../../etc/passwd", "There is no time zone"),
        ("Europe", "There is no time zone"),
        ("\x00", "There is no time zone"),
    ],
)
def test_an_unknown_zone_is_refused_with_a_hint(zone_name: str, hint: str) -> None:
    with pytest.raises(Unprocessable, match=hint) as refused:
        timetable("0 8 * * *", zone_name)
    assert refused.value.code == "unknown_timezone"
