"""The main process's event loop, in fewer turns for each message; what it does is as stock.

- A message is read when the socket has one. Celery tries again after each, which fails for most. Where several come
  at once, as many are read in one turn.
- A job is written to an idle child at once. Celery registers the children's pipes with the poll, writes in the next
  turn, and takes them out again.
"""

from collections.abc import Callable
from functools import partial
from typing import Any


def read_at_once(transport: Any, messages: int, *, encrypted: bool) -> None:
    """Have the transport of a connection read so, and up to so many messages in one turn. An encrypted line may hold
    what the poll doesn't see: as stock.
    """
    if not encrypted:
        transport.on_readable = partial(_read_at_once, transport.on_readable, messages)


def _read_at_once(
    stock: Callable[[Any, Any], None], messages: int, connection: Any, hub: Any
) -> None:
    if not connection.connected:
        stock(connection, hub)
        return
    try:
        for _ in range(messages):
            connection.drain_events(timeout=0)
    except (TimeoutError, BlockingIOError, InterruptedError):
        return  # no more, or half a message


def idle_children(pool: Any) -> set[int]:
    """Those of a pool that may be written to, by their pipes."""
    idle: set[int] = pool._all_inqueues - pool._busy_workers - pool._active_writes  # noqa: SLF001
    return idle


def write_at_once(pool: Any, hub: Any) -> None:
    """Have a pool that was just registered with the hub write so; again after each lost connection."""
    put, write = pool._quick_put, hub.consolidate_callback  # noqa: SLF001

    def put_and_write(job: Any) -> None:
        put(job)
        idle = idle_children(pool)
        if idle:
            write([min(idle)])

    pool._quick_put = put_and_write  # noqa: SLF001
    _look_for_room_less(pool, hub)


class _Room:
    """Before each poll: whether a child has room, where something waits for it, and once more when nothing does."""

    def __init__(self, pool: Any, stock: Callable[[], None]) -> None:
        self._waits, self._stock, self._looking = pool.outbound_buffer, stock, True

    def __call__(self) -> None:
        if self._waits or self._looking:
            self._looking = bool(self._waits)
            self._stock()


def _look_for_room_less(pool: Any, hub: Any) -> None:
    for tick in list(hub.on_tick):
        if not isinstance(tick, _Room) and tick.__name__ == "on_poll_start":
            hub.on_tick.discard(tick)
            hub.on_tick.add(_Room(pool, tick))
