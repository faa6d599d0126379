"""How many connections each process of the product opens, at most: the one table of it.

The engines are made with these figures, and the capacity planner adds them up. RabbitMQ's are connections,
not channels.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Opens:
    """What one process has open at the same time, at most. `pool` and `overflow` are its engine's; the others
    are opened beside it, `copies` for reading the rows of an export.
    """

    pool: int = 0
    overflow: int = 0
    listeners: int = 0
    copies: int = 0
    rabbitmq: int = 0

    @property
    def postgres(self) -> int:
        """All of its connections to PostgreSQL."""
        return self.pool + self.overflow + self.listeners + self.copies


def web(db_pool_size: int) -> Opens:
    """A web process: its pool, and one that listens while somebody watches an import."""
    return Opens(pool=db_pool_size, listeners=1)


DISPATCHER = Opens(pool=7, listeners=1, rabbitmq=4)
"""One for the dispatching, one for each of five chores, one for who reads the metrics, and what wakes it. To the broker: the publisher,
the reader of dead letters, the sender of plain tasks whose turn has come again, and who reads the metrics."""
WORKER = Opens(pool=1, rabbitmq=2)
"""A worker's main process, which takes the messages and sends Flower's events. The database it tells for a
moment every ten seconds that it is there."""
CHILD = Opens(pool=1, overflow=2, copies=1)
"""One of its children: the job's own, for a moment the heartbeat's and that of an effect, a lock or a check; and
while it makes an export, the second one that reads its rows."""

RESERVED = 3
"""PostgreSQL keeps so many for superusers (`superuser_reserved_connections`)."""
SPARE = 10
"""For people, migrations, commands and monitoring."""
