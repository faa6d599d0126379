"""The product's processes on a database of their own, started, stopped and looked at by name."""

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from sqlalchemy import Engine, text

from app.db import close, make_engine
from app.ledger.contract import JobContract
from app.ledger.enqueue import NewJob, enqueue_many
from app.settings import Settings
from app.storage import make_storage
from infra.local.product import Product
from infra.local.program import Program
from tests.support.customers import Customer, make_customer
from tests.support.processes import Processes
from tests.support.queues import Queues
from tests.support.servers import Servers, wait_for

TEST_APP = "tests.support.worker_app"
TALLIES = "CREATE TABLE IF NOT EXISTS tallies (job_id uuid, attempt int, pid int)"


@dataclass(frozen=True, slots=True)
class Stopped:
    """How a process ended that was told to stop."""

    status: int
    seconds: float


class Fleet:
    """Dispatchers, workers (with the jobs of `worker_app`) and web servers."""

    def __init__(
        self, servers: Servers, environment: dict[str, str], engine: Engine, folder: Path
    ) -> None:
        self.servers = servers
        self.environment = environment
        self.settings = Settings.of(environment)
        self.engine = engine
        self.folder = folder
        self.tenant: Customer = make_customer(engine)
        self.processes = Processes(servers, environment, folder)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def product(self, **settings: object) -> Product:
        more = {f"MILLRACE_{name.upper()}": str(value) for name, value in settings.items()}
        return Product(
            layout=self.servers.system.layout,
            settings={**self.environment, **more},
            web_port=0,
            flower_port=0,
            flower_password="unused",
        )

    def start(self, program: Program) -> subprocess.Popen[bytes]:
        """Returns when it is ready."""
        replace = {"workers.celery_app": TEST_APP}
        self._running[program.name] = self.processes.start(program, replace=replace)
        return self._running[program.name]

    def start_dispatcher(
        self, name: str = "dispatcher", **settings: object
    ) -> subprocess.Popen[bytes]:
        return self.start(self.product(**settings).dispatcher(name))

    def start_worker(
        self,
        name: str = "worker",
        *,
        queues: str = "default",
        concurrency: int = 2,
        **settings: object,
    ) -> subprocess.Popen[bytes]:
        return self.start(self.product(**settings).worker(name, queues, concurrency))

    def runs(self, name: str) -> bool:
        """Whether it was started and not stopped since."""
        return name in self._running

    def alive(self, name: str) -> bool:
        return self._running[name].poll() is None

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def stop(self, name: str, *, within: float = 30) -> Stopped:
        """SIGTERM, and wait."""
        (stopped,) = self.stop_together(name, within=within)
        return stopped

    def stop_together(self, *names: str, within: float = 30) -> list[Stopped]:
        """SIGTERM to all of them, and wait for each."""
        processes = [self._running.pop(name) for name in names]
        began = time.monotonic()
        for process in processes:
            process.terminate()
        return [Stopped(process.wait(within), time.monotonic() - began) for process in processes]

    def kill(self, name: str) -> None:
        """SIGKILL, and wait."""
        process = self._running.pop(name)
        process.kill()
        process.wait(10)

    # --- the ledger ----------------------------------------------------------------------------

    def enqueue(self, jobs: Sequence[JobContract]) -> list[UUID]:
        with self.engine.begin() as tx:
            new = [NewJob(job=job) for job in jobs]
            return [one.id for one in enqueue_many(tx, self.tenant.id, new)]

    def number(self, query: str, **values: object) -> int:
        with self.engine.connect() as tx:
            found: int = tx.execute(text(query), values).scalar_one()
        return found

    def count(self, state: str, ids: Sequence[UUID]) -> int:
        query = "SELECT count(*) FROM jobs WHERE state = :state AND id = ANY(:ids)"
        return self.number(query, state=state, ids=list(ids))

    def overlaps(self, ids: Sequence[UUID]) -> int:
        """Of how many pairs of these jobs one began before the other had ended, by the history."""
        query = """
            WITH spell AS (
                SELECT job_id, min(at) FILTER (WHERE event = 'claim') AS began, max(at) AS ended
                FROM job_history WHERE job_id = ANY(:ids) GROUP BY job_id
            )
            SELECT count(*) FROM spell a JOIN spell b
            ON a.job_id < b.job_id AND a.began < b.ended AND b.began < a.ended
        """
        return self.number(query, ids=list(ids))

    def wait_until(self, state: str, ids: Sequence[UUID], *, seconds: float = 30) -> None:
        wait_for(
            lambda: self.count(state, ids) == len(ids),
            seconds=seconds,
            what=f"{len(ids)} jobs {state}",
        )

    def assert_each_done_once(self, ids: Sequence[UUID]) -> None:
        """All have succeeded, and each effect is there once."""
        assert self.count("succeeded", ids) == len(ids)
        query = "SELECT count(*) FROM tallies WHERE job_id = ANY(:ids)"
        assert self.number(query, ids=list(ids)) == len(ids)
        distinct = "SELECT count(DISTINCT job_id) FROM tallies WHERE job_id = ANY(:ids)"
        assert self.number(distinct, ids=list(ids)) == len(ids)

    def ran_twice(self) -> int:
        """How many attempts were begun in vain, over all jobs so far: none, in a good drain."""
        return self.number("""
            SELECT count(*) FROM job_history
            WHERE event IN ('claim', 'take_over') AND (event = 'take_over' OR attempt > 1)
        """)

    def pids(self, ids: Sequence[UUID]) -> set[int]:
        """The processes that did these."""
        with self.engine.connect() as tx:
            query = text("SELECT DISTINCT pid FROM tallies WHERE job_id = ANY(:ids)")
            return set(tx.execute(query, {"ids": list(ids)}).scalars())


@contextmanager
def fleet_on(servers: Servers, folder: Path, **settings: object) -> Iterator[Fleet]:
    """A fleet without processes yet; those that the block starts end with it."""
    with servers.database() as database:
        known: dict[str, object] = {"s3_bucket": f"t-{uuid4().hex}", "dispatch_poll_seconds": 0.2}
        environment = servers.environment(database, **{**known, **settings})
        made = Settings.of(environment)
        make_storage(made).ensure_bucket()
        with Queues(made) as queues:
            queues.purge()
        engine = make_engine(made, pool_size=5, max_overflow=20, application_name="millrace-tests")
        with engine.begin() as tx:
            tx.execute(text(TALLIES))
        fleet = Fleet(servers, environment, engine, folder)
        try:
            yield fleet
        finally:
            fleet.processes.close()
            close(engine)
