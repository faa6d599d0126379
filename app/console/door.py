"""How often somebody may be wrong about a key: all web processes count together."""

from ipaddress import IPv6Address, ip_address, ip_network

from fastapi import Request
from sqlalchemy import Connection, insert, text

from app.errors import TooManyRequests
from app.ids import new_id
from app.models.audit import SignInFailure

FAILURES = 10
MINUTES = 1
IPV6_NETWORK_BITS = 64

_RECENT = text("""
    SELECT count(*) FROM sign_in_failures
    WHERE address = :address AND at > clock_timestamp() - make_interval(mins => :minutes)
""")
_FORGET = text("DELETE FROM sign_in_failures WHERE at < clock_timestamp() - interval '1 hour'")


def address_of(request: Request) -> str:
    """Who is counted as one: an address, of IPv6 the network that a household has."""
    host = request.client.host if request.client else "unknown"
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(ip_network((address, IPV6_NETWORK_BITS), strict=False))
    return str(address)


def check_patience(tx: Connection, address: str) -> None:
    """Raises TooManyRequests after FAILURES wrong keys in MINUTES, also for a right one."""
    facts = {"address": address, "minutes": MINUTES}
    if tx.execute(_RECENT, facts).scalar_one() >= FAILURES:
        raise TooManyRequests(
            "Too many wrong keys came from your address. Wait a minute, then try again.",
            code="sign_in_limit",
            retry_after=MINUTES * 60,
        )


def count_failure(tx: Connection, address: str) -> None:
    """Another wrong key."""
    tx.execute(_FORGET)
    tx.execute(insert(SignInFailure).values(id=new_id(), address=address))
