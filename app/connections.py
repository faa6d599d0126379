"""How many connections each process of the product opens, at most: the one table of it.

The engines are made with these figures. The capacity planner adds them up for a load, `planned` for the
processes that the settings name, and no process starts when that is more than the servers take. RabbitMQ's
are connections, not channels.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

WEB, DISPATCHERS = "web", "dispatcher"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opens:
    """What one process has open at the same time, at most. `pool` and `overflow` are its engine's; the others
    are opened beside it: `listeners` go past a pooler, `copies` read the rows of an export.
    """

    pool: int = 0
    overflow: int = 0
    beside: int = 0
    listeners: int = 0
    copies: int = 0
    rabbitmq: int = 0

    @property
    def postgres(self) -> int:
        """All of its connections to PostgreSQL."""
        return self.pool + self.overflow + self.beside + self.listeners + self.copies


def web(db_pool_size: int) -> Opens:
    """A web process: its pool, and one that listens while somebody watches an import."""
    return Opens(pool=db_pool_size, listeners=1)


DISPATCHER = Opens(pool=8, listeners=1, rabbitmq=4)
"""One for the dispatching, one for each of five chores, one for who reads the metrics, one for who asks
whether it is ready, and what wakes it. To the broker: the publisher, the reader of dead letters, the sender of
plain tasks whose turn has come again, and who reads the metrics."""
WORKER = Opens(pool=1, beside=1, rabbitmq=2)
"""A worker's main process, which takes the messages and sends Flower's events. The database it tells for a
moment every ten seconds that it is there, or asks it how large its pool should be; and one more is for who asks
whether it is ready."""
CHILD = Opens(pool=1, overflow=2, copies=1)
"""One of its children: the job's own, for a moment the heartbeat's and that of an effect, a lock or a check; and
while it makes an export, the second one that reads its rows."""
FLOWER = Opens(rabbitmq=12)
"""It hears events on one, and asks workers many things at once by Celery's pool of ten (`broker_pool_limit`); at most
these and one more were seen.
"""

RESERVED = 3
"""PostgreSQL keeps so many for superusers (`superuser_reserved_connections`)."""
SPARE = 10
"""For people, migrations, commands and monitoring."""

_ENTRY = re.compile(r"([a-z][a-z0-9-]*)=(\d{1,5})(?:x([1-9]\d{0,3}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """A pool: how many worker containers, and how many children each has; None: MILLRACE_WORKER_CONCURRENCY."""

    pool: str
    replicas: int = 1
    children: int | None = None

    def __str__(self) -> str:
        """As `read_processes` reads it."""
        return f"{self.pool}={self.replicas}" + (f"x{self.children}" if self.children else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """How many processes of each kind run at the same time, at most; during a roll-out too."""

    web: int = 1
    dispatchers: int = 1
    workers: Sequence[Workers] = (
        Workers(pool="high"),
        Workers(pool="default"),
        Workers(pool="low"),
    )

    def with_children(self, pool: str, children: int, *, usually: int) -> "Processes":
        """The same where every worker of that pool has at least so many; `usually` is MILLRACE_WORKER_CONCURRENCY. A
        pool that isn't there stays away.
        """
        workers = tuple(
            replace(one, children=max(children, one.children or usually))
            if one.pool == pool
            else one
            for one in self.workers
        )
        return replace(self, workers=workers)

    def __str__(self) -> str:
        """As `read_processes` reads it."""
        words = (f"{WEB}={self.web}", f"{DISPATCHERS}={self.dispatchers}", *map(str, self.workers))
        return " ".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLine:
    """One kind of process: how many there are, and what they open together. `direct` of PostgreSQL's go past
    a pooler.
    """

    process: str
    processes: int
    postgres: int
    direct: int
    rabbitmq: int


def read_processes(value: object) -> object:
    """From `web=2 dispatcher=1 high=1x2`: what isn't named is as in the default, but if a worker's pool is
    named, only the named ones run. Raises ValueError.
    """
    if not isinstance(value, str):
        return value
    counts: dict[str, int] = {}
    workers: list[Workers] = []
    for word in value.replace(",", " ").split():
        entry = _ENTRY.fullmatch(word)
        if entry is None or (entry[3] and entry[1] in {WEB, DISPATCHERS}):
            raise ValueError(f"{word!r} is not like web=2, dispatcher=1 or default=3x4")
        name, number, children = entry[1], int(entry[2]), entry[3]
        if name in counts:
            raise ValueError(f"{name!r} is there twice")
        counts[name] = number
        if name not in {WEB, DISPATCHERS}:
            each = int(children) if children else None
            workers.append(Workers(pool=name, replicas=number, children=each))
    default = Processes()
    return Processes(
        web=counts.get(WEB, default.web),
        dispatchers=counts.get(DISPATCHERS, default.dispatchers),
        workers=tuple(workers) or default.workers,
    )


def line(process: str, processes: int, opens: Opens) -> ConnectionLine:
    """So many processes of a kind."""
    return ConnectionLine(
        process=process,
        processes=processes,
        postgres=processes * opens.postgres,
        direct=processes * opens.listeners,
        rabbitmq=processes * opens.rabbitmq,
    )


def planned(
    processes: Processes, *, db_pool_size: int, worker_concurrency: int
) -> list[ConnectionLine]:
    """Line by line, what the processes open at most. Most of a child's are open for moments only."""
    replicas = sum(pool.replicas for pool in processes.workers)
    children = sum(
        pool.replicas * (pool.children or worker_concurrency) for pool in processes.workers
    )
    return [
        line("web process", processes.web, web(db_pool_size)),
        line("dispatcher", processes.dispatchers, DISPATCHER),
        line("worker", replicas, WORKER),
        line("worker child", children, CHILD),
        line("Flower", 1, FLOWER),
    ]
