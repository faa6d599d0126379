"""How long a server asks us to wait, whatever our own clock says."""

import pytest

from app.outbound.retry_after import retry_after

DATE = "Sun, 01 Mar 2020 10:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "90"}, 90),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "Sun, 01 Mar 2020 10:01:30 GMT", "date": DATE}, 90),
        ({"retry-after": "Sun, 01 Mar 2020 11:01:30 +0100", "date": DATE}, 90),
        ({"retry-after": "Sun, 01 Mar 2020 09:00:00 GMT", "date": DATE}, 0),
        ({"retry-after": "Sun, 01 Mar 2099 09:00:00 GMT", "date": DATE}, 3600),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "1e300"}, 3600),
        ({"retry-after": "Sun, 01 Mar 2099 09:00:00 GMT"}, None),
        ({"retry-after": "Sun, 01 Mar 2099 09:00:00 GMT", "date": "today"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon", "date": DATE}, None),
        ({}, None),
    ],
)
def test_in_seconds_or_by_the_server_s_own_clock(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers, most=3600) == seconds
