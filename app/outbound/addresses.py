"""Which addresses a customer may have us connect to: those that anybody on the internet could reach.

A list of what is allowed and not of what is forbidden, so that a range which nobody thought of is refused.
"""

import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from queue import Empty, SimpleQueue
from threading import Thread

from app.outbound.errors import AddressRefused, NameUnknown, TimedOut

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolver = Callable[[str, int, float], Sequence[Address]]
"""Host, port and seconds to the addresses of the name, best first. Raises NameUnknown and TimedOut."""

_IPV6_UNICAST = IPv6Network("2000::/3")
"""All that is given out. Mapped, translated (64:ff9b::/96), link-local and private addresses lie outside."""
_NOT_FOR_US = tuple(
    IPv4Network(each)
    for each in (
        "0.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT, and a cloud's metadata
        "168.63.129.16/32",  # Azure's own services, seen from inside
        "192.0.0.0/24",
        "192.88.99.0/24",  # relays into 6to4
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
)
_NOT_FOR_US_6 = tuple(
    IPv6Network(each)
    for each in (
        "2001::/23",  # Teredo and other protocols' own
        "2001:db8::/32",
        "2002::/16",  # 6to4: any IPv4 address, private ones too
        "3fff::/20",
    )
)


def is_open(address: Address) -> bool:
    """Whether the address is one of the internet's, and of a single host there."""
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in each for each in _NOT_FOR_US)
    return (
        address in _IPV6_UNICAST
        and address.is_global
        and not any(address in each for each in _NOT_FOR_US_6)
    )


def permitted(addresses: Sequence[Address], allowed: Sequence[Network]) -> list[Address]:
    """Those that may be connected to: open ones, and those in a network that the operator allows.

    Raises AddressRefused when there is none.
    """
    found = [
        address
        for address in addresses
        if is_open(address) or any(address in network for network in allowed)
    ]
    if not found:
        raise AddressRefused(
            "The address is private, local or reserved. Use one that is reachable from the internet."
        )
    return found


def system_resolver(host: str, port: int, seconds: float) -> list[Address]:
    """The system's own answer, given up on after `seconds`: by itself the system takes up to a minute."""
    answers: SimpleQueue[list[Address] | OSError | UnicodeError] = SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.put([ip_address(each[4][0]) for each in found])
        except (OSError, UnicodeError) as error:
            answers.put(error)

    Thread(target=ask, name="resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=max(seconds, 0.001))
    except Empty:
        raise TimedOut(f"The name {host!r} was not resolved in time.") from None
    if isinstance(answer, list):
        return answer
    raise NameUnknown(f"The name {host!r} has no address.")
