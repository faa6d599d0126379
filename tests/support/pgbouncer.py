"""A real PgBouncer in transaction mode in front of the tests' PostgreSQL, as strict as it comes: it ignores no
start-up parameter and keeps no prepared statement.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from infra.local.account import become_unprivileged
from infra.local.errors import ProgramFailed
from infra.local.pgbouncer import ensure_pgbouncer
from infra.local.ports import LOOPBACK, accepts, choose_ports
from infra.local.postgres import ROLE, Postgres
from infra.local.waiting import until

POOL_SIZE = 6
_CONFIGURATION = """\
[databases]
* = host={host} port={postgres}
[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users.txt
admin_users = {role}
pool_mode = transaction
default_pool_size = {pool}
max_client_conn = 200
logfile = {folder}/pgbouncer.log
"""


class PgBouncer:
    """One process in a folder of its own."""

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        self._folder = folder
        self._postgres = postgres
        self._process: subprocess.Popen[bytes] | None = None
        self.port = choose_ports(["pgbouncer"], folder / "ports.json", seed=str(folder))[
            "pgbouncer"
        ]

    def url(self, database: str) -> str:
        return f"postgresql://{ROLE}:{self._postgres.password}@{LOOPBACK}:{self.port}/{database}"

    def in_front(self, environment: Mapping[str, str], database: str) -> dict[str, str]:
        """The settings of processes that go through it."""
        return {
            **environment,
            "MILLRACE_DATABASE_URL": self.url(database),
            "MILLRACE_DATABASE_DIRECT_URL": self._postgres.url(database=database),
            "MILLRACE_POOLER_CONNECTIONS": str(POOL_SIZE),
        }

    def start(self) -> None:
        """Returns when it accepts. Raises infra.local.LocalError."""
        program = ensure_pgbouncer(print)
        (self._folder / "users.txt").write_text(f'"{ROLE}" "{self._postgres.password}"\n')
        configuration = self._folder / "pgbouncer.ini"
        configuration.write_text(
            _CONFIGURATION.format(
                host=LOOPBACK,
                postgres=self._postgres.port,
                port=self.port,
                folder=self._folder,
                role=ROLE,
                pool=POOL_SIZE,
            )
        )
        prefix = become_unprivileged(self._folder, program)
        self._process = subprocess.Popen(
            [*prefix, str(program), "-q", str(configuration)],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        process = self._process
        until(lambda: process.poll() is not None or accepts(self.port), seconds=10)
        if not accepts(self.port):
            log = self._folder / "pgbouncer.log"
            self.stop()
            raise ProgramFailed(
                "pgbouncer", "it didn't start", log.read_text() if log.exists() else ""
            )

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None
