"""Any process may be killed at any moment: kill -9 in the middle of an import changes nothing about it.

Each victim dies while an import of its own runs. The import must end by itself with the rows and counts
of an undisturbed one, none twice and none missing, and within 30 s of its time.
"""

import gzip
import hashlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import httpx
import psutil
import psycopg
import pytest

from app.ledger.state import TRANSITIONS, Event
from infra.local.client import Client, Import
from infra.local.errors import LocalError
from infra.local.sample import sample_csv
from infra.local.system import LocalSystem
from infra.local.tenant import Tenant, make_tenant
from infra.local.waiting import until
from tests.support.servers import started

pytestmark = pytest.mark.long

ROWS = 15_000
GRACE_SECONDS = 30.0
PROGRAMS = (
    *("postgres", "epmd", "rabbitmq", "s3"),
    *("web", "dispatcher", "worker-default"),
)


@dataclass(frozen=True, slots=True)
class Finished:
    """What an import came to: the API's counts, and a digest of the rows in the database."""

    counts: dict[str, int]
    contacts: str
    rejects: str
    seconds: float


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """The product's own processes, apart from the other tests' servers: this one gets hurt."""
    chunks = {"MILLRACE_IMPORT_CHUNK_BYTES": "50000"}
    home = tmp_path_factory.mktemp("kill")
    made = LocalSystem(home, programs=PROGRAMS, environment=chunks)
    with started(made):
        yield made


@pytest.fixture(scope="module")
def content() -> bytes:
    return sample_csv(ROWS)


@pytest.fixture(scope="module")
def undisturbed(system: LocalSystem, content: bytes) -> Finished:
    return _import(system, content, strike=lambda: None)


def _kill_web_and_dispatcher(system: LocalSystem) -> None:
    """At once: neither has a part in how the other comes back."""
    system.kill_program("web", group=False)
    system.kill_program("dispatcher", group=False)


def _kill_worker(system: LocalSystem) -> None:
    system.kill_program("worker-default", group=False)


def _kill_child(system: LocalSystem) -> None:
    """The child that has worked most is the one in the middle of a chunk."""
    pid = system.pid("worker-default")
    assert pid is not None
    children = psutil.Process(pid).children()
    busiest = max(children, key=lambda child: child.cpu_times().user)
    os.kill(busiest.pid, signal.SIGKILL)


def _kill_rabbitmq(system: LocalSystem) -> None:
    old = system.kill_program("rabbitmq")
    system.wait_ready("rabbitmq", not_pid=old)


def _kill_postgres(system: LocalSystem) -> None:
    system.kill_program("postgres")


def _kill_s3(system: LocalSystem) -> None:
    system.kill_program("s3")


def assert_unchanged(disturbed: Finished, undisturbed: Finished) -> None:
    assert replace(disturbed, seconds=0) == replace(undisturbed, seconds=0)
    assert disturbed.seconds < undisturbed.seconds + GRACE_SECONDS


@pytest.mark.parametrize(
    "kill",
    [
        _kill_rabbitmq,
        _kill_postgres,
        _kill_s3,
        _kill_web_and_dispatcher,
        _kill_worker,
    ],
    ids=lambda kill: kill.__name__,
)
def test_a_kill_in_the_middle_changes_nothing(
    system: LocalSystem,
    content: bytes,
    undisturbed: Finished,
    kill: Callable[[LocalSystem], None],
) -> None:
    disturbed = _import(system, content, strike=lambda: kill(system))

    assert_unchanged(disturbed, undisturbed)


def test_what_a_killed_child_ran_is_taken_over_on_redelivery_and_not_after_its_lease(
    system: LocalSystem, content: bytes, undisturbed: Finished
) -> None:
    """The default lease is a minute; the next attempt begins within seconds."""
    disturbed = _import(system, content, strike=lambda: _kill_child(system))

    assert_unchanged(disturbed, undisturbed)
    with psycopg.connect(system.postgres.url()) as database:
        waits = database.execute(
            """
            SELECT extract(epoch FROM h.at - before.at)
            FROM job_history h CROSS JOIN LATERAL (
                SELECT at FROM job_history b WHERE b.job_id = h.job_id AND b.id < h.id
                ORDER BY b.id DESC LIMIT 1) before
            WHERE h.event = 'take_over'
            """
        ).fetchall()
    assert waits, "no job was taken over: the kill missed"
    assert max(float(wait) for (wait,) in waits) < GRACE_SECONDS


def test_a_plan_that_is_killed_goes_on_and_changes_nothing(
    system: LocalSystem, content: bytes, undisturbed: Finished
) -> None:
    """Every child dies while the file is planned; chunks of it are recorded, and in part imported."""
    tenant = _make_tenant(system)
    with Client(system.web_url, tenant.api_key) as client:
        import_id = client.upload("contacts.csv.gz", gzip.compress(content))["id"]
        with psycopg.connect(system.postgres.url(), autocommit=True) as database:
            query = "SELECT chunks_total, planned_at FROM imports WHERE id = %s"

            def is_half_planned() -> bool:
                row = database.execute(query, (import_id,)).fetchone()
                assert row is not None
                assert row[1] is None, "the plan was faster than the kill"
                return row[0] is not None

            assert until(is_half_planned, seconds=60, interval=0.005)
            _kill_children(system)
            attempts = (
                "SELECT attempt FROM jobs WHERE kind = 'import.plan' AND payload->>'import_id' = %s"
            )
            state = _ended(client, import_id)
            assert database.execute(attempts, (import_id,)).fetchone() == (2,)
        finished = _finished(system, tenant, state, client, 0)
    assert finished == replace(undisturbed, seconds=0)


def test_an_undo_that_is_killed_goes_on_and_leaves_what_was_changed_meanwhile(
    system: LocalSystem, content: bytes
) -> None:
    """Of the rows a third were there before. Some are changed while the undo runs and its workers die."""
    tenant = _make_tenant(system)
    with (
        Client(system.web_url, tenant.api_key) as client,
        psycopg.connect(system.postgres.url(), autocommit=True) as database,
    ):
        _ended(client, client.upload("contacts.csv", sample_csv(ROWS // 3))["id"])
        database.execute(
            "UPDATE contacts SET company = 'Before' WHERE tenant_id = %s", (tenant.id,)
        )
        before = _contacts(database, tenant)
        state = _ended(client, client.upload("contacts.csv", content)["id"])
        counts = state["counts"]
        assert counts["inserted"] > ROWS // 2
        assert counts["updated"] > ROWS // 4
        answer = client._http.post(f"/v1/imports/{state['id']}/undo")
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text

        def undo() -> dict[str, Any]:
            found = _state(client, state["id"])
            return found["undo"] if found else {"removed": 0, "status": "unknown"}

        assert until(lambda: undo()["removed"] > 0, seconds=60)
        _kill_children(system)
        database.execute(
            "UPDATE contacts SET phone = 'changed' WHERE tenant_id = %s AND email LIKE %s",
            (tenant.id, "%7@example.org"),
        )
        changed = _contacts(database, tenant, "AND phone = 'changed'")
        assert until(lambda: undo()["status"] == "succeeded", seconds=120), undo()
        told = undo()
        after = _contacts(database, tenant)
    kept = {row for row in changed if row in after}
    assert kept == changed
    assert (
        told["removed"] + told["restored"] + told["kept"] == counts["inserted"] + counts["updated"]
    )
    keys = {row[0] for row in changed}
    assert {row for row in after if row[0] not in keys} == {
        row for row in before if row[0] not in keys
    }
    assert 0 < told["kept"] <= len(changed)


def _kill_children(system: LocalSystem) -> None:
    pid = system.pid("worker-default")
    assert pid is not None
    for child in psutil.Process(pid).children():
        child.kill()


def _make_tenant(system: LocalSystem) -> Tenant:
    name = f"kill-{uuid4().hex[:8]}"
    tenant = make_tenant(system, name, email=f"{name}@example.com")
    system.wait_ready("web")
    return tenant


def _import(system: LocalSystem, content: bytes, *, strike: Callable[[], None]) -> Finished:
    """Import `content` for a new tenant and call `strike` once some of its rows are in."""
    tenant = _make_tenant(system)
    with Client(system.web_url, tenant.api_key) as client:
        state, seconds = _run(client, content, strike)
        return _finished(system, tenant, state, client, seconds)


def _run(client: Client, content: bytes, strike: Callable[[], None]) -> tuple[Import, float]:
    """The import as it ended, and how long it took."""
    began = time.monotonic()
    import_id = client.upload("contacts.csv", content)["id"]
    assert until(lambda: _rows_done(client, import_id) > 0, seconds=60), "the import didn't begin"
    strike()
    return _ended(client, import_id), time.monotonic() - began


def _ended(client: Client, import_id: str) -> Import:
    """The import, once it has succeeded."""
    ended: list[Import] = []

    def has_ended() -> bool:
        state = _state(client, import_id)
        if state is not None and state["status"] not in {"queued", "running"}:
            ended.append(state)
        return bool(ended)

    assert until(has_ended, seconds=120), "the import didn't end"
    assert ended[0]["status"] == "succeeded", ended[0]
    return ended[0]


def _state(client: Client, import_id: str) -> Import | None:
    """The import; None while the web process is away."""
    try:
        return client.import_(import_id)
    except (LocalError, httpx.TransportError):
        return None


def _rows_done(client: Client, import_id: str) -> int:
    state = _state(client, import_id)
    return int(state["progress"]["rows_done"]) if state else 0


def _finished(
    system: LocalSystem, tenant: Tenant, state: Import, client: Client, seconds: float
) -> Finished:
    with psycopg.connect(system.postgres.url()) as database:
        contacts = sorted(_contacts(database, tenant))
    assert until(lambda: _state(client, state["id"]) is not None, seconds=60)
    rejects = list(client.rejected(state["id"]))
    counts = state["counts"]
    assert counts["inserted"] == len(contacts)
    assert counts["rejected"] == len(rejects)
    assert counts["total"] == sum(counts.values()) - counts["total"]
    return Finished(counts, _digest(contacts), _digest(rejects), seconds)


def _contacts(
    database: psycopg.Connection[Any], tenant: Tenant, which: str = ""
) -> set[tuple[str, ...]]:
    return set(
        database.execute(
            f"""
            SELECT email, coalesce(first_name, ''), coalesce(last_name, ''), coalesce(company, ''),
                   coalesce(phone, ''), attributes::text
            FROM contacts WHERE tenant_id = %s {which}
            """,  # noqa: S608 - constants
            (tenant.id,),
        ).fetchall()
    )


def _digest(rows: object) -> str:
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def test_every_history_is_a_path_of_the_transition_table(system: LocalSystem) -> None:
    """Over all imports of this module, the disturbed ones included."""
    with psycopg.connect(system.postgres.url()) as database:
        steps = database.execute(
            "SELECT job_id, event, from_state, to_state FROM job_history ORDER BY job_id, id"
        ).fetchall()
    assert steps
    stands: dict[object, str | None] = {}
    for job_id, event, source, target in steps:
        move = TRANSITIONS[Event(event)]
        assert source == stands.get(job_id), (job_id, event)
        assert target == move.target
        assert source is None or source in move.sources
        stands[job_id] = target
