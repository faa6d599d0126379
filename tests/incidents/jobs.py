"""Faults in what jobs do, and in how many there are."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from uuid import uuid4

import httpx

from tests.incidents.incident import Course, incident
from tests.incidents.release import POISON
from tests.incidents.stage import LOW, RENEWED, RENEWED_KEY, WRONG, Stage
from tests.support.ai_provider import KEY

REPORT, CLASSIFY = "report.daily", "ai.classify"
FIRST_DAY = date(2010, 1, 1)
_names = itertools.count()


class Slow(threading.Event):
    """Who waits for it waits for so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def wait(self, timeout: float | None = None) -> bool:
        time.sleep(self._seconds)
        return True


def add_contact(stage: Stage, tenant: str) -> None:
    """So that there is something to classify."""
    with stage.database() as tx:
        tx.execute(
            "INSERT INTO contacts (id, tenant_id, email, company, attributes)"
            " VALUES (%s, %s, %s, 'Dentist', '{}') ON CONFLICT DO NOTHING",
            [uuid4(), stage.tenant(tenant).id, f"someone@{tenant}.example"],
        )


def classify(stage: Stage, client: httpx.Client) -> str:
    """A job that asks the provider once."""
    number = next(
        _names
    )  # other labels are another question: an answer that is known isn't asked for again
    labels = [f"dentist {number}", "other"]
    return stage.post(client, CLASSIFY, what="contacts", name=f"incident-{number}", labels=labels)


def report(stage: Stage, client: httpx.Client) -> str:
    """A job of some milliseconds."""
    day = FIRST_DAY + timedelta(days=next(_names))
    return stage.post(client, REPORT, day=day.isoformat())


@contextmanager
def again_and_again(
    stage: Stage, tenant: str, post: Callable[[Stage, httpx.Client], str], *, seconds: float
) -> Iterator[None]:
    """Post a job every so many seconds, until the block ends."""
    over = threading.Event()

    def go_on() -> None:
        with stage.client(tenant) as client:
            while not over.wait(seconds):
                post(stage, client)

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)


def open_incident(stage: Stage, kind: str) -> str:
    """The id of the kind's one open incident. Raises LookupError."""
    found = json.loads(
        stage.quietly("incidents", "list", "--state", "open", "--kind", kind, "--json")
    )
    if not found:
        raise LookupError(f"{kind} has no open incident")
    return str(found[0]["id"])


@incident(
    "a slow provider",
    page="queue-lag",
    alert="MillraceQueueLag",
    queue="low",
    also=(("MillraceOldestJob", {"queue": "low"}),),
)
def slow_provider(stage: Stage) -> Course:
    """The AI provider takes 4 s for each answer; 60 jobs are behind it, one at a time."""
    add_contact(stage, "acme")
    stage.provider.hold = Slow(4)
    with stage.client("acme") as client:
        for _ in range(60):
            classify(stage, client)
    yield
    stage.do("millrace queues rules")
    stage.do("millrace tenants top")
    stage.do('millrace kinds pause KIND --reason "the provider is slow"', KIND=CLASSIFY)
    yield
    stage.provider.hold = None
    stage.do("millrace kinds resume KIND", KIND=CLASSIFY)
    stage.wait_until_idle("low")


@incident(
    "a poison job",
    page="dead-letters",
    alert="MillraceDeadLetters",
    kind=REPORT,
)
def poison_job(stage: Stage) -> Course:
    """One job ends its worker's process by a segmentation fault, at each attempt; ten others are well."""
    stage.fault_file.write_text("kill")
    stage.swap(WRONG)
    with stage.client("acme") as client:
        stage.post(client, REPORT, day=POISON.isoformat())
        for _ in range(10):
            report(stage, client)
    yield
    stage.do("millrace incidents list --state open")
    found = open_incident(stage, REPORT)
    stage.do("millrace incidents show INCIDENT", INCIDENT=found)
    stage.do(
        'millrace incidents discard --incident INCIDENT --reason "their file kills the reader; they were told"',
        INCIDENT=found,
    )
    yield
    stage.swap(LOW)


@incident(
    "a flood by one tenant",
    page="queue-drain",
    alert="MillraceQueueDrain",
    queue="low",
)
def flood(stage: Stage) -> Course:
    """One tenant posts 300 jobs of 0.3 s at once and five more each second; its neighbour posts one."""
    add_contact(stage, "flood")
    stage.provider.hold = Slow(0.3)
    with stage.client("flood") as client:
        for _ in range(300):
            classify(stage, client)
    with again_and_again(stage, "flood", classify, seconds=0.2):
        with stage.client("acme") as client:
            stage.note(
                "a neighbour's job took", stage.seconds_to_end(client, report(stage, client))
            )
        yield
        stage.do("millrace tenants top")
        stage.do(
            'millrace tenants pause TENANT --reason "a loop on their side; they know"',
            TENANT="flood",
        )
        yield
    stage.provider.hold = None
    stage.do("millrace tenants resume TENANT", TENANT="flood")
    stage.wait_until_idle("low")


@incident(
    "a wrong deploy that fails one kind",
    page="kind-fails",
    alert="MillraceKindFails",
    kind=REPORT,
)
def wrong_deploy(stage: Stage) -> Course:
    """A release whose report.daily raises TypeError takes over the queue; a job a second is posted."""
    stage.fault_file.write_text("raise")
    stage.swap(WRONG)
    with again_and_again(stage, "acme", report, seconds=1):
        yield
        stage.do('millrace kinds pause KIND --reason "fails since the release"', KIND=REPORT)
        stage.do(
            "docker compose up --detach --no-build worker-low", instead=lambda: stage.swap(LOW)
        )
        stage.do("millrace kinds resume KIND", KIND=REPORT)
        yield
    stage.wait_until_idle("low")


@incident(
    "a leak",
    page="children-restart",
    alert="MillraceChildrenRestart",
    pool="low",
)
def leak(stage: Stage) -> Course:
    """A release whose report.daily keeps 60 MB of each job takes over the queue; two jobs a second are posted."""
    stage.fault_file.write_text("leak")
    stage.swap(WRONG)
    with again_and_again(stage, "acme", report, seconds=0.5):
        yield
        stage.do("millrace incidents list --state open")
        stage.do(
            "docker compose up --detach --no-build worker-low", instead=lambda: stage.swap(LOW)
        )
        yield


@incident(
    "an expired credential",
    page="kind-fails",
    alert="MillraceKindFails",
    kind=CLASSIFY,
)
def expired_credential(stage: Stage) -> Course:
    """The provider takes another key from now on, and answers 401 to ours; a job a second is posted."""
    add_contact(stage, "acme")
    stage.provider.key = RENEWED_KEY
    with again_and_again(stage, "acme", classify, seconds=1):
        yield
        stage.do("millrace incidents list --state open --kind KIND", KIND=CLASSIFY)
        found = open_incident(stage, CLASSIFY)
        stage.do("millrace incidents show INCIDENT", INCIDENT=found)
        stage.do("docker compose up --detach worker-low", instead=lambda: stage.swap(RENEWED))
        stage.do("millrace incidents replay --kind KIND --dry-run", KIND=CLASSIFY)
        stage.do("millrace incidents replay --kind KIND --rate 20", KIND=CLASSIFY)
        stage.do('millrace incidents resolve INCIDENT --note "the key was renewed"', INCIDENT=found)
        yield
    stage.wait_until_idle("low")
    stage.provider.key = KEY
    stage.swap(LOW)
