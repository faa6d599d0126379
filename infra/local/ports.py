"""Ports are found, not assumed: kept between runs as long as they are free."""

import json
import random
import socket
from collections.abc import Iterable
from pathlib import Path

LOOPBACK = "127.0.0.1"

# Below the ranges that Linux (32768+) and macOS (49152+) hand to outgoing connections, so that
# no connection made between our look and the server's bind can take a port away.
CANDIDATES = range(15_000, 32_000)


def choose_ports(names: Iterable[str], kept: Path, *, seed: str) -> dict[str, int]:
    """A free loopback port per name; what `kept` holds is used again where it is free.

    Homes differ in `seed`, so two that start at the same moment look in different places.
    Raises OSError when no candidate is free.
    """
    before: dict[str, int] = json.loads(kept.read_text()) if kept.exists() else {}
    dice = random.Random(seed)
    ports: dict[str, int] = {}
    for name in names:
        port = before.get(name)
        if port is None or port in ports.values() or not is_free(port):
            taken = {*before.values(), *ports.values()}
            port = _free_port(dice, taken)
        ports[name] = port
    kept.write_text(json.dumps({**before, **ports}, indent=2) + "\n")
    return ports


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Connections of an earlier run may linger in TIME_WAIT; the servers ignore those, too.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def accepts(port: int, *, timeout: float = 1.0) -> bool:
    """Whether something accepts TCP connections on the loopback `port`."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout):
            return True
    except OSError:
        return False


def _free_port(dice: random.Random, taken: set[int]) -> int:
    for port in dice.sample(CANDIDATES, 1000):
        if port not in taken and is_free(port):
            return port
    raise OSError("no free port on 127.0.0.1")
