"""The database is away for longer than the broker has patience: nothing is dead of it, and no attempt is used up."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from infra.local.waiting import until
from tests.integration.workers.conftest import CHILDREN
from tests.support.fleet import Fleet
from tests.support.jobs import events, job_facts
from tests.support.servers import Servers, wait_for
from tests.support.worker_jobs import BriefTally, Hold, Tally

pytestmark = pytest.mark.long

LIMIT = 3
"""The broker's delivery limit, for once."""
WAIT_SECONDS = 0.3
"""So long a child waits for the database, for once."""
OUTAGE_SECONDS = 6.0
"""In which each message could come, and go back, some twenty times."""


@pytest.fixture
def impatient(fleet: Fleet, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A worker, and a broker, with little patience; its name."""
    name = "worker"
    if fleet.runs(name):
        fleet.stop(name)
    monkeypatch.setitem(fleet.environment, "TEST_DATABASE_WAIT_SECONDS", str(WAIT_SECONDS))
    with servers.delivery_limit(LIMIT):
        fleet.start_worker(name, concurrency=CHILDREN)
        yield name
        fleet.stop(name)


@pytest.mark.usefixtures("impatient")
def test_an_outage_outlasts_the_delivery_limit(fleet: Fleet, servers: Servers) -> None:
    gate = fleet.folder / "outage-gate"
    held = fleet.enqueue([Hold(gate=str(gate)) for _ in range(CHILDREN)])
    fleet.wait_until("running", held)
    behind = fleet.enqueue([*(Tally() for _ in range(10)), *(BriefTally() for _ in range(10))])
    fleet.wait_until("queued", behind)

    gone_back = fleet.processes.log("worker").count("job.database_away")
    with servers.no_new_connections(_database(fleet)):
        gate.touch()  # they are done, and can't say so

        def too_often() -> bool:
            log = fleet.processes.log("worker")
            return log.count("job.database_away") - gone_back > CHILDREN * LIMIT

        assert not until(too_often, seconds=OUTAGE_SECONDS)
        assert "worker.database_away" in fleet.processes.log("worker")

    everyone = [*held, *behind]
    fleet.wait_until("succeeded", everyone, seconds=40)
    fleet.assert_each_done_once(everyone)
    for job in held:
        begun, over, *again = events(fleet.engine, job)[2:]
        assert begun == "claim"
        assert over in {"rescue", "snooze"}, "as its child or the main process is quicker"
        assert again == ["dispatch", "claim", "succeed"]
        facts = job_facts(fleet.engine, job)
        assert (facts.attempt, facts.max_attempts) == (2, Hold.spec.retry.attempts + 1)
    query = text(
        "SELECT DISTINCT detail->>'code' FROM job_history WHERE event IN ('rescue', 'snooze')"
    )
    with fleet.engine.connect() as tx:
        assert list(tx.execute(query).scalars()) == ["database_away"]
    wait_for(lambda: "worker.database_back" in fleet.processes.log("worker"), what="the log")


def _database(fleet: Fleet) -> str:
    return urlsplit(fleet.environment["MILLRACE_DATABASE_URL"]).path.strip("/")
