"""The real servers that the whole run shares, and a database of its own for each test."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from app.migrations.run import upgrade
from app.settings import Settings
from infra.local import SERVERS, LocalError, LocalSystem
from infra.local.rabbitmq_binaries import server as rabbitmq_server
from infra.local.waiting import until

TEMPLATE = "template_millrace"
FASTER = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""Test databases needn't outlive a power cut."""


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

    def start(self) -> None:
        """Raises infra.local.LocalError when a server can't be had."""
        self.system.start()
        with self._superuser() as connection:
            for name, value in FASTER.items():
                connection.execute(
                    sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), value)
                )
            connection.execute("SELECT pg_reload_conf()")
        self._create_database(TEMPLATE, template="template0")
        upgrade(Settings.of(self.environment(TEMPLATE)))

    def stop(self) -> None:
        self.system.stop()

    def restart(self, program: str) -> None:
        """Stop one server, start it again, and return when it is ready."""
        self.system.restart_program(program)

    @contextmanager
    def database(self) -> Iterator[str]:
        """A new database with the product's tables, dropped at the end whoever still uses it."""
        name = f"test_{uuid4().hex}"
        self._create_database(name, template=TEMPLATE)
        try:
            yield name
        finally:
            with self._superuser() as connection:
                connection.execute(
                    sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
                )

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
        self.end_sessions(database)
        try:
            yield
        finally:
            self._allow(database, "true")

    def end_sessions(self, database: str) -> int:
        """Terminate every backend that works on the database; how many there were."""
        with self._superuser() as connection:
            ended = connection.execute(
                "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
                " WHERE datname = %s",
                [database],
            ).fetchone()
        return 0 if ended is None else int(ended[0])

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
        with self._superuser() as connection:
            connection.execute(
                sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
                    sql.Identifier(database), sql.SQL(answer)
                )
            )

    def _create_database(self, name: str, *, template: str) -> None:
        statement = sql.SQL("CREATE DATABASE {} OWNER millrace TEMPLATE {} STRATEGY FILE_COPY")
        with self._superuser() as connection:
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))

    def _superuser(self) -> psycopg.Connection:
        return psycopg.connect(self.system.postgres.superuser_url, autocommit=True)


def wait_for(condition: Callable[[], object], *, seconds: float = 20.0, what: str = "") -> None:
    """Return as soon as `condition()` is true; fail the test when it isn't in time."""
    assert until(lambda: bool(condition()), seconds=seconds), (
        f"{what or 'the condition'} did not come true within {seconds:.0f} s"
    )
