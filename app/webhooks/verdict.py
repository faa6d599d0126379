"""What an answer means for the delivery, the endpoint and its breaker. Pure."""

from dataclasses import dataclass
from http import HTTPStatus
from random import Random

from app.outbound.errors import AddressRefused, InvalidUrl, OutboundError
from app.outbound.http import Answer
from app.outbound.retry_after import retry_after

PAUSES = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 28_800)
"""Seconds before the second attempt, the third, and so on: 11 attempts within a day."""
SPREAD = 0.2
MAX_RETRY_AFTER = 6 * 3600.0
GIVE_UP_SECONDS = 36 * 3600.0
"""After this a delivery has failed, also if most of the time its endpoint was being left alone."""
SERVER_ERRORS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`is_down`: it counts against the server; None says that nothing was learned about it. `retry_after`
    is what the server asked for, in seconds.
    """

    is_delivered: bool = False
    is_gone: bool = False
    is_down: bool | None = False
    retry_after: float = 0.0
    reason: str = ""


def judge(came: Answer | OutboundError) -> Verdict:
    """Of one attempt. A redirect is a failure: nothing is sent to where it points."""
    if isinstance(came, OutboundError):
        unknown = isinstance(came, (AddressRefused, InvalidUrl))
        return Verdict(is_down=None if unknown else True, reason=str(came))
    status = came.status
    if HTTPStatus(200) <= status < HTTPStatus(300):
        return Verdict(is_delivered=True)
    if status == HTTPStatus.GONE:
        return Verdict(is_gone=True, reason="The endpoint answered 410: it wants no more.")
    if HTTPStatus(300) <= status < HTTPStatus(400):
        return Verdict(reason=f"It answered {status}, and redirects are not followed.")
    asked = retry_after(came.headers, most=MAX_RETRY_AFTER) if status in {429, 503} else None
    is_down = status >= SERVER_ERRORS or status == HTTPStatus.TOO_MANY_REQUESTS
    return Verdict(is_down=is_down, retry_after=asked or 0.0, reason=f"It answered {status}.")


def give_up_reason(is_enabled: bool, *, age_seconds: float) -> str | None:
    """Why nothing more is sent; None while something is."""
    if not is_enabled:
        return "The endpoint is disabled."
    return "It could not be delivered in time." if age_seconds > GIVE_UP_SECONDS else None


def snooze_seconds(retry_after: float, dice: Random) -> float:
    """While the endpoint is left alone; those that wait for it don't all come back at once."""
    return max(retry_after, 1.0) * dice.uniform(1.0, 1.5)


def pause_seconds(tries: int, *, retry_after: float, dice: Random) -> float:
    """After so many tries (from 1); never shorter than the server asked."""
    usual = PAUSES[min(tries, len(PAUSES)) - 1]
    return max(usual * dice.uniform(1 - SPREAD, 1 + SPREAD), retry_after)
