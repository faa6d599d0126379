"""`Retry-After`: how long a server asks us to wait."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite


def retry_after(headers: Mapping[str, str], *, most: float) -> float | None:
    """In seconds, from 0 to `most`; None without one that can be read. The names of `headers` are in lower case.

    A date is one by the server's clock, and so is compared with the answer's own `Date`: ours may be off.
    """
    asked = headers.get("retry-after", "")
    try:
        seconds = float(asked)
    except ValueError:
        until, now = _moment(asked), _moment(headers.get("date", ""))
        if until is None or now is None:
            return None
        seconds = (until - now).total_seconds()
    return min(max(seconds, 0.0), most) if isfinite(seconds) else None


def _moment(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
