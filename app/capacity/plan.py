"""From a load to workers, connections, memory and money. Pure; `millrace capacity` shows what it says.

A worker is what runs one job at a time: a child of Celery's pool. A replica is a container with
`concurrency` of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, inf

from app import connections
from app.capacity.durations import Durations
from app.capacity.queueing import Load, Queueing, drain_seconds, queueing, servers_for_wait
from app.connections import ConnectionLine, line
from app.errors import Unprocessable

HOURS_A_MONTH = 730
OUTAGE_SECONDS = 600
"""Where no backlog is given: what arrives while no worker of the pool runs for ten minutes."""
MOST_WORKERS = 100_000
SLACK = 1e-9
"""A product of decimals that should be a whole number isn't rounded up for its last bit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one pool's queue gets. `mean_rate` is the whole period's where `rate` is its busiest hour's.

    `overhead` is a worker's time between two jobs: acknowledging, the broker, Celery.
    """

    pool: str
    rate: float
    durations: Durations
    scv_arrivals: float = 1.0
    overhead: float = 0.0
    backlog: int | None = None
    mean_rate: float | None = None
    jobs: int | None = None
    source: str = "given"

    @property
    def load(self) -> Load:
        """As the model wants it: the overhead is work, but doesn't vary."""
        busy = self.durations.mean + self.overhead
        return Load(
            rate=self.rate,
            mean=busy,
            scv_arrivals=self.scv_arrivals,
            scv_durations=self.durations.scv * (self.durations.mean / busy) ** 2,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is the same for every pool. Memory is MiB; `price` is of a replica and hour; `pooler_connections` are
    what a pooler before PostgreSQL opens at most, None where there is none.
    """

    utilisation: float = 0.7
    headroom: float = 0.25
    concurrency: int = 2
    wait_p95: float | None = None
    child_mib: float = 400.0
    main_mib: float = 200.0
    price: float | None = None
    web_processes: int = 2
    web_pool: int = 10
    dispatchers: int = 1
    max_connections: int = 100
    pooler_connections: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.utilisation < 1:
            raise ValueError("the target utilisation is between 0 and 1, without both")
        if not 0 <= self.headroom < inf or self.concurrency < 1:
            raise ValueError("headroom is >= 0 and a replica has at least one worker")
        if self.wait_p95 is not None and not 0 <= self.wait_p95 < inf:
            raise ValueError("the wait is >= 0 seconds")
        if self.price is not None and not 0 <= self.price < inf:
            raise ValueError("the price is >= 0")
        if not (0 <= self.child_mib < inf and 0 <= self.main_mib < inf):
            raise ValueError("memory is >= 0 MiB")
        if min(self.web_processes, self.web_pool, self.dispatchers) < 0:
            raise ValueError("there are >= 0 web processes, connections of each, and dispatchers")
        if self.max_connections < 1 or (self.pooler_connections or 1) < 1:
            raise ValueError("PostgreSQL's connections, and a pooler's, are at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPlan:
    """How many workers the pool gets, and what they make of its load.

    `workers_by_formula` is arrival rate x busy time / target utilisation, and the headroom on top;
    `workers_for_wait` what the wanted wait takes, where one is wanted. `workers` is the larger one, filled
    up to whole replicas.
    """

    demand: Demand
    workers_by_formula: int
    workers_for_wait: int | None
    workers: int
    replicas: int
    queueing: Queueing
    backlog: int
    drain: float
    memory_mib: float
    cost_a_month: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All pools, and what they share. `postgres_room` is what is left of PostgreSQL's connections."""

    pools: Sequence[PoolPlan]
    terms: Terms
    lines: Sequence[ConnectionLine] = field(default_factory=tuple)

    @property
    def postgres(self) -> int:
        """Connections that the processes open, to PostgreSQL or to a pooler before it, at most."""
        return sum(line.postgres for line in self.lines)

    @property
    def direct(self) -> int:
        """Of these, the ones that go past a pooler."""
        return sum(line.direct for line in self.lines)

    @property
    def postgres_server(self) -> int:
        """What arrives at PostgreSQL itself, at most: as `wanted_of_postgres` counts them at each start."""
        pooler = self.terms.pooler_connections
        return self.postgres if pooler is None else pooler + self.direct

    @property
    def workers(self) -> int:
        """Of all pools."""
        return sum(pool.workers for pool in self.pools)

    @property
    def rabbitmq(self) -> int:
        """Connections to RabbitMQ, at most."""
        return sum(line.rabbitmq for line in self.lines)

    @property
    def postgres_room(self) -> int:
        """Below 0: raise max_connections, or have fewer processes or smaller pools."""
        kept = connections.RESERVED + connections.SPARE
        return self.terms.max_connections - kept - self.postgres_server


def workers_by_formula(rate: float, mean: float, *, utilisation: float, headroom: float) -> int:
    """Arrival rate x mean duration / target utilisation, and `headroom` of it on top; at least one."""
    return max(1, ceil(rate * mean / utilisation * (1 + headroom) - SLACK))


def too_much(demand: Demand, terms: Terms) -> bool:
    """Whether the load would need more than MOST_WORKERS."""
    return demand.load.offered / terms.utilisation * (1 + terms.headroom) > MOST_WORKERS


def plan_pool(demand: Demand, terms: Terms) -> PoolPlan:
    """The pool's workers, in whole replicas. Raises Unprocessable beyond MOST_WORKERS."""
    load = demand.load
    if too_much(demand, terms):
        raise Unprocessable(
            f"{demand.pool}: {load.rate:g} jobs/s of {load.mean:g} s each need more than "
            f"{MOST_WORKERS:,} workers. Rates are per second, durations are seconds."
        )
    by_formula = workers_by_formula(
        load.rate, load.mean, utilisation=terms.utilisation, headroom=terms.headroom
    )
    for_wait = None if terms.wait_p95 is None else servers_for_wait(load, terms.wait_p95)
    replicas = ceil(max(by_formula, for_wait or 0) / terms.concurrency)
    workers = replicas * terms.concurrency
    backlog = ceil(demand.rate * OUTAGE_SECONDS) if demand.backlog is None else demand.backlog
    return PoolPlan(
        demand=demand,
        workers_by_formula=by_formula,
        workers_for_wait=for_wait,
        workers=workers,
        replicas=replicas,
        queueing=queueing(load, workers),
        backlog=backlog,
        drain=drain_seconds(load, workers, backlog),
        memory_mib=workers * terms.child_mib + replicas * terms.main_mib,
        cost_a_month=None if terms.price is None else replicas * terms.price * HOURS_A_MONTH,
    )


def make_plan(demands: Sequence[Demand], terms: Terms) -> Plan:
    """Every pool's plan, and the connections of all processes together."""
    pools = [plan_pool(demand, terms) for demand in demands]
    return Plan(pools=pools, terms=terms, lines=connection_lines(pools, terms))


def connection_lines(pools: Sequence[PoolPlan], terms: Terms) -> list[ConnectionLine]:
    """Process by process, at most; most of a child's four are open for moments only."""
    replicas = sum(pool.replicas for pool in pools)
    workers = sum(pool.workers for pool in pools)
    return [
        line("web process", terms.web_processes, connections.web(terms.web_pool)),
        line("dispatcher", terms.dispatchers, connections.DISPATCHER),
        line("worker replica", replicas, connections.WORKER),
        line("worker child", workers, connections.CHILD),
        line("Flower", 1, connections.FLOWER),
    ]
