"""The real servers that the whole run shares, and a database of its own for each test."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import pytest
from psycopg import sql

from app.broker.topology import MAX_LENGTH
from app.migrations.run import upgrade
from app.settings import Settings
from infra.local import SERVERS, LocalError, LocalSystem
from infra.local.postgres import SUPERUSER
from infra.local.rabbitmq_binaries import server as rabbitmq_server
from infra.local.waiting import until
from tests.support.databases import Databases

FASTER = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
}
"""Test databases needn't outlive a power cut, nor many rows; and nobody analyzes one in the middle of a test."""


class Startable(Protocol):
    """A system, or what wraps one."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


@contextmanager
def started(system: Startable) -> Iterator[None]:
    """Started, and stopped at the end. Without the servers a test is skipped, but fails in CI."""
    try:
        system.start()
    except LocalError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no servers: {missing}")
    try:
        yield
    finally:
        system.stop()


class Servers:
    """PostgreSQL, RabbitMQ, S3 and SMTP, started for this run in a folder of its own."""

    def __init__(self, home: Path) -> None:
        self.system = LocalSystem(home, programs=SERVERS)
        self.databases = Databases(
            lambda name: self.system.postgres.url(database=name, user=SUPERUSER)
        )

    def start(self) -> None:
        """Raises infra.local.LocalError when a server can't be had."""
        self.system.start()
        for name, value in FASTER.items():
            statement = sql.SQL("ALTER SYSTEM SET {} = {}")
            self.databases.run(statement.format(sql.Identifier(name), value))
        self.databases.run("SELECT pg_reload_conf()")
        self.databases.cheapen_logins(self.system.credentials.postgres_password)
        self.databases.make_template(lambda name: upgrade(Settings.of(self.environment(name))))

    def stop(self) -> None:
        self.databases.close()
        self.system.stop()

    def restart(self, program: str) -> None:
        """Stop one server, start it again, and return when it is ready."""
        self.system.restart_program(program)

    def database(self) -> AbstractContextManager[str]:
        """A database with the product's tables, as new; gone at the end whoever still uses it."""
        return self.databases.one()

    def environment(self, database: str, **more: object) -> dict[str, str]:
        """What the product's processes need to work on that database; `more` are settings."""
        return {
            **self.system.settings,
            "MILLRACE_DATABASE_URL": self.system.postgres.url(database=database),
            # No worker empties the queues of most tests.
            "MILLRACE_DISPATCH_WINDOW_MIN": "10000",
            **{f"MILLRACE_{name.upper()}": str(value) for name, value in more.items()},
        }

    @contextmanager
    def no_new_connections(self, database: str) -> Iterator[None]:
        """The database is away: nobody gets in, and whoever was in is thrown out."""
        self._allow(database, "false")
        self.databases.end_sessions(database)
        try:
            yield
        finally:
            self._allow(database, "true")

    def make_read_only(self, database: str, *, wanted: bool) -> None:
        """Whether it refuses writes, as a standby does; whoever was in is thrown out."""
        statement = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}")
        self.databases.run(statement.format(sql.Identifier(database), sql.Literal(wanted)))
        self.databases.end_sessions(database)

    @contextmanager
    def delivery_limit(self, limit: int) -> Iterator[None]:
        """How often the broker delivers a message of the queue default, for as long as the block."""
        policy = ["--vhost", "millrace", "--apply-to", "queues", "--priority", "9"]
        definition = json.dumps({"delivery-limit": limit, "max-length": MAX_LENGTH})
        self.rabbitmqctl("set_policy", *policy, "impatient", "^default$", definition)
        try:
            yield
        finally:
            self.rabbitmqctl("clear_policy", "--vhost", "millrace", "impatient")

    def rabbitmqctl(self, *words: str) -> str:
        """Raises CalledProcessError; takes about a second."""
        done = subprocess.run(
            [str(rabbitmq_server().with_name("rabbitmqctl")), "--quiet", *words],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, **self.system.rabbitmq.cli_environment()},
        )
        return done.stdout

    def _allow(self, database: str, answer: str) -> None:
        statement = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        self.databases.run(statement.format(sql.Identifier(database), sql.SQL(answer)))


def wait_for(condition: Callable[[], object], *, seconds: float = 20.0, what: str = "") -> None:
    """Return as soon as `condition()` is true; fail the test when it isn't in time."""
    assert until(lambda: bool(condition()), seconds=seconds), (
        f"{what or 'the condition'} did not come true within {seconds:.0f} s"
    )
