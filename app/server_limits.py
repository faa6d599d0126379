"""Whether PostgreSQL and RabbitMQ take the connections that our processes may open; asked at each start.

A plan that is over a limit works until the load comes, and then fails where nobody looks for it. So no process
starts with one. A server that is away is no reason not to start: nobody knows its limits then, and a process that
ended for it would only be started again.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import httpx
import psycopg
import structlog

from app.broker.management import Management
from app.broker.topology import Queue
from app.connections import SPARE, ConnectionLine, planned
from app.db import direct_connection
from app.logs import cause
from app.plurals import plural
from app.settings import Settings

log = structlog.get_logger()

REFUSED = 78
"""The exit status of a process that another start won't help (`EX_CONFIG`)."""
_NO_LIMIT = -1
_LIMITS = """
    SELECT (SELECT setting::int FROM pg_settings WHERE name = 'max_connections'),
           (SELECT sum(setting::int) FROM pg_settings
            WHERE name IN ('superuser_reserved_connections', 'reserved_connections')),
           (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user),
           (SELECT datconnlimit FROM pg_database WHERE datname = current_database())
"""


class Over(NamedTuple):
    """What is wrong with the plan, and what to change."""

    found: str
    change: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresLimits:
    """Of the server, and of our role and database where they have one."""

    max_connections: int
    reserved: int
    role: int | None
    database: int | None

    @property
    def ours(self) -> int:
        """So many connections are there for us, if nobody else has any."""
        limits = (self.max_connections - self.reserved, self.role, self.database)
        return min(limit for limit in limits if limit is not None)


def postgres_limits(connection: psycopg.Connection) -> PostgresLimits:
    """As the server has them now."""
    row = connection.execute(_LIMITS).fetchone()
    assert row is not None
    most, reserved, role, database = (int(value) for value in row)
    return PostgresLimits(
        max_connections=most,
        reserved=reserved,
        role=None if role == _NO_LIMIT else role,
        database=None if database == _NO_LIMIT else database,
    )


def plan_of(settings: Settings) -> list[ConnectionLine]:
    """What the processes of the settings open."""
    return planned(
        settings.processes,
        db_pool_size=settings.db_pool_size,
        worker_concurrency=settings.worker_concurrency,
    )


def wanted_of_postgres(settings: Settings, plan: Sequence[ConnectionLine]) -> int:
    """Connections to PostgreSQL itself: behind a pooler, the pooler's and those that go past it."""
    if settings.pooled:
        return settings.pooler_connections + sum(line.direct for line in plan)
    return sum(line.postgres for line in plan)


def words_of(plan: Sequence[ConnectionLine], of: str) -> str:
    """`11 of 1 web process, 9 of 1 dispatcher, ...`."""
    return ", ".join(
        f"{getattr(line, of)} of {line.processes} {_named(line.process, line.processes)}"
        for line in plan
        if getattr(line, of)
    )


def _named(process: str, number: int) -> str:
    endings = {"s": "es", "d": "ren"}  # processes, children
    return plural(number, process, process + endings.get(process[-1], "s"))


def over_postgres(settings: Settings, limits: PostgresLimits) -> Over | None:
    """None when the plan fits."""
    plan = plan_of(settings)
    wanted = wanted_of_postgres(settings, plan)
    if wanted <= limits.ours:
        return None
    if settings.pooled:
        of = f"{settings.pooler_connections} of the pooler, {words_of(plan, 'direct')}"
        less = "lower MILLRACE_POOLER_CONNECTIONS and the pooler's own pool, or MILLRACE_PROCESSES"
    else:
        of = words_of(plan, "postgres")
        less = "lower MILLRACE_DB_POOL_SIZE or MILLRACE_PROCESSES, or put PgBouncer in front (docs/pgbouncer.md)"
    return Over(
        f"The processes open up to {wanted} connections to PostgreSQL ({of}); it has {limits.ours} for this role.",
        f"Raise max_connections to {wanted + limits.reserved + SPARE}, and the role's or database's CONNECTION "
        f"LIMIT where it has one; or {less}.",
    )


def over_rabbitmq(settings: Settings, limit: int | None) -> Over | None:
    """As `over_postgres`; `limit` is that of the user or virtual host."""
    plan = plan_of(settings)
    wanted = sum(line.rabbitmq for line in plan)
    if limit is None or wanted <= limit:
        return None
    return Over(
        f"The processes open up to {wanted} connections to RabbitMQ ({words_of(plan, 'rabbitmq')}); its limit "
        f"for this user or virtual host is {limit}.",
        "Raise max-connections, or lower MILLRACE_PROCESSES.",
    )


def unknown_pools(settings: Settings) -> Over | None:
    """None when each pool of the plan is a queue's: connections of one that nobody runs would be counted, and those
    of the one that was meant not.
    """
    known = [queue.value for queue in Queue]
    unknown = [one.pool for one in settings.processes.workers if one.pool not in known]
    if not unknown:
        return None
    return Over(
        f"MILLRACE_PROCESSES has {', '.join(map(repr, unknown))}, and there is no such pool.",
        f"There are web, dispatcher and a pool for each queue: {', '.join(known)}.",
    )


def check_at_start(settings: Settings, *, pool: str = "", children: int = 0) -> None:
    """Exit with REFUSED, and a line that says what to change, when the plan has a pool that there isn't, or is over a
    limit that can be read. A worker says which pool it is of and how many children it has: more than planned are
    counted for all workers of the pool.
    """
    if unknown := unknown_pools(settings):
        log.error("start.refused", reason=unknown.found, change=unknown.change)
        sys.exit(REFUSED)
    usually = settings.worker_concurrency
    processes = settings.processes.with_children(pool, children, usually=usually)
    settings = settings.model_copy(update={"processes": processes})
    for server, over in (("postgres", _postgres), ("rabbitmq", _rabbitmq)):
        try:
            found = over(settings)
        except (psycopg.Error, httpx.HTTPError) as error:
            log.warning("start.limits_unread", server=server, error=cause(error))
            continue
        if found:
            log.error("start.refused", server=server, reason=found.found, change=found.change)
            sys.exit(REFUSED)


def _postgres(settings: Settings) -> Over | None:
    with direct_connection(settings, application_name="millrace-start") as connection:
        return over_postgres(settings, postgres_limits(connection))


def _rabbitmq(settings: Settings) -> Over | None:
    if settings.broker_management_url is None:
        return None
    return over_rabbitmq(settings, Management(settings).connection_limit())
