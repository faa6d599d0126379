"""Times and figures as the console writes them."""

from datetime import UTC, datetime, timedelta

import pytest

from app.console.words import NONE, ago, between, figure, moment, span
from app.roles import Role

NOW = datetime(2026, 5, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, NONE),
        (0, "0 s"),
        (0.04, "40 ms"),
        (3.21, "3.2 s"),
        (75, "75 s"),
        (720, "12 min"),
        (12_000, "3 h 20 min"),
        (439_200, "5 d 2 h"),
    ],
)
def test_a_span_is_as_exact_as_anybody_wants_to_know(seconds: float | None, words: str) -> None:
    assert span(seconds) == words


def test_moments_are_utc() -> None:
    assert moment(datetime.fromisoformat("2026-05-01T10:00:01+02:00")) == "2026-05-01 08:00:01"
    assert ago(NOW - timedelta(seconds=3), NOW) == "3.0 s ago"
    assert ago(NOW + timedelta(hours=3), NOW) == "in 3 h 0 min"
    assert between(NOW, NOW + timedelta(milliseconds=5)) == "5 ms"
    assert (moment(None), ago(None, NOW), between(NOW, None)) == (NONE, NONE, NONE)


def test_figures_have_their_thousands_apart() -> None:
    assert [figure(each) for each in (None, 1_234_567, 0.25, 3.0)] == [
        NONE,
        "1,234,567",
        "0.2",
        "3",
    ]


def test_a_role_covers_those_below_it() -> None:
    order = (Role.VIEWER, Role.OPERATOR, Role.ADMIN)
    for n, role in enumerate(order):
        assert [role.covers(least) for least in order] == [m <= n for m in range(3)]
        assert not role.covers(Role.TENANT)
        assert not Role.TENANT.covers(role)
