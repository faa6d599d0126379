"""Replay, discard and incidents in the ledger: exactly once, whoever else is at it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import httpx
import pytest
from sqlalchemy import Connection, Engine, text

from app.broker.topology import Queue
from app.errors import NotFound
from app.imports.report import finished_letter
from app.jobs import ImportChunk
from app.ledger.aftermath import Aftermath
from app.ledger.burial import Wire, bury_stray
from app.ledger.concurrency import Concurrency
from app.ledger.contract import JobContract, JobSpec
from app.ledger.ending import stand_still
from app.ledger.enqueue import enqueue
from app.ledger.incidents import ignore, resolve
from app.ledger.job_error import job_error
from app.ledger.replay import DeadFilter, Discarded, Replayed, discard, replay, retry_job
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.deaths import TEST_CATALOG, dead, die, incident_of, letter_of
from tests.support.imports import (
    accepted_import,
    counts,
    csv_bytes,
    dispatch,
    import_row,
    small_batches,
)
from tests.support.jobs import (
    Note,
    UrgentNote,
    add_queued,
    assert_lawful,
    claim_now,
    count,
    events,
    job_facts,
)
from tests.support.runtime import Worker
from workers.handlers.import_chunk import import_chunk
from workers.runtime.context import Context
from workers.runtime.outcome import Dead, Outcome

ROWS = [[f"user{number}@example.com"] for number in range(40)]


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "MILLRACE_IMPORT_CHUNK_BYTES": "200"}


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    small_batches(monkeypatch, 200)


def replay_all(tx: Connection, **more: object) -> Replayed:
    return replay(tx, TEST_CATALOG, {}, DeadFilter(), reason="once more", **more)  # type: ignore[arg-type]


@contextmanager
def meanwhile(engine: Engine) -> Iterator[Connection]:
    """Somebody else's transaction, which waits for nobody."""
    with engine.begin() as tx:
        tx.execute(text("SET LOCAL lock_timeout = '1s'"))
        yield tx


def work_off(engine: Engine, worker: Worker) -> None:
    """Dispatch and run everything but mails, until nothing is due."""
    while due := [job_id for job_id, kind in dispatch(engine) if not kind.startswith("mail.")]:
        for job_id in due:
            worker.deliver(job_id)


def test_two_replays_at_once_replay_each_job_once(engine: Engine, tenant: Customer) -> None:
    gone = [dead(engine, tenant.id, Note()) for _ in range(2)]
    with engine.begin() as tx:
        assert replay_all(tx).job_ids == gone
        with meanwhile(engine) as other:
            assert replay_all(other).job_ids == []
    assert count(engine, "outbox") == 2
    assert_lawful(engine)


def test_two_discards_at_once_discard_each_letter_once(engine: Engine, tenant: Customer) -> None:
    job_id = dead(engine, tenant.id, Note())
    with engine.begin() as tx:
        assert discard(tx, DeadFilter(), reason="no longer needed").number == 1
        with meanwhile(engine) as other:
            assert discard(other, DeadFilter(), reason="no longer needed").number == 0
    assert events(engine, job_id).count("discard") == 1


def test_a_replay_passes_by_what_is_being_discarded(engine: Engine, tenant: Customer) -> None:
    dead(engine, tenant.id, Note())
    with engine.begin() as tx:
        assert discard(tx, DeadFilter(), reason="no longer needed").number == 1
        with meanwhile(engine) as other:
            assert replay_all(other).job_ids == []


def test_a_discard_passes_by_what_is_about_to_be_replayed(engine: Engine, tenant: Customer) -> None:
    job_id = dead(engine, tenant.id, Note())
    with engine.begin() as tx:
        stand_still(tx, job_id)  # chosen, and the replay's own statement yet to come
        with meanwhile(engine) as other:
            assert discard(other, DeadFilter(), reason="too late").number == 0
        assert replay_all(tx).job_ids == [job_id]
    assert letter_of(engine, job_id)["state"] == "replayed"
    assert_lawful(engine)


def test_a_retry_of_another_tenants_job_finds_none(
    engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    job_id = dead(engine, stranger.id, Note())
    with engine.begin() as tx, pytest.raises(NotFound):
        retry_job(tx, TEST_CATALOG, {}, tenant.id, job_id, reason="not ours")
    assert job_facts(engine, job_id).state == "dead"


def test_a_replay_goes_on_where_the_last_one_ended(engine: Engine, tenant: Customer) -> None:
    gone = [dead(engine, tenant.id, Note()) for _ in range(5)]
    with engine.begin() as tx:
        first = replay_all(tx, limit=2, rate=1.0, dry_run=True)
        rest = replay_all(tx, limit=3, rate=1.0, dry_run=True, after=first.last, delay=2.0)
    assert (first.job_ids, first.more, first.seconds) == (gone[:2], True, 1.0)
    assert (rest.job_ids, rest.more, rest.seconds) == (gone[2:], False, 4.0)


class KeptNote(JobContract):
    """As the release has it in which it dies."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="test.kept",
        priority=5,
        concurrency=Concurrency(key=lambda job: f"account {job.account}", limit=4),
    )

    account: str = "a"


class KeptNoteNow(KeptNote):
    """As a later one has it."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="test.kept",
        queue=Queue.LOW,
        priority=-3,
        concurrency=Concurrency(key="account", in_order=True),
    )


class FreeNoteNow(KeptNote):
    """As another has it."""

    spec: ClassVar[JobSpec] = JobSpec(kind="test.kept")


@pytest.mark.parametrize(
    ("contract", "key", "priority", "becomes"),
    [
        (KeptNoteNow, None, None, ("low", -3, "test.kept:account=a", 1, True)),
        (KeptNoteNow, "mine", None, ("low", -3, "mine", 1, True)),
        (KeptNoteNow, None, 7, ("low", 7, "test.kept:account=a", 1, True)),
        (FreeNoteNow, None, None, ("default", 0, None, None, False)),
        (FreeNoteNow, "mine", 5, ("default", 5, "mine", 1, False)),
    ],
)
def test_a_replayed_job_follows_the_contract_as_it_is_now(
    engine: Engine,
    tenant: Customer,
    contract: type[JobContract],
    key: str | None,
    priority: int | None,
    becomes: tuple[object, ...],
) -> None:
    """Its queue and priority, and which jobs it waits for; what was given for the job stays."""
    with engine.begin() as tx:
        job_id = enqueue(tx, tenant.id, KeptNote(), concurrency_key=key, priority=priority).id
    query = text("""
        SELECT queue, priority, concurrency_key, concurrency_limit, in_order FROM jobs WHERE id = :id
    """)
    for _ in range(2):
        assert dispatch(engine) == [(job_id, "test.kept")]
        with engine.begin() as tx:
            claimed = claim_now(tx, job_id)
        assert claimed is not None
        die(engine, claimed)
        with engine.begin() as tx:
            retry_job(tx, {"test.kept": contract}, {}, tenant.id, job_id, reason="again")
            assert tuple(tx.execute(query, {"id": job_id}).one()) == becomes
            lines = tx.execute(text("SELECT job_id FROM key_lines")).scalars().all()
            assert lines == ([job_id] if becomes[-1] else [])


def test_one_kind_that_fails_to_revive_does_not_keep_the_others_dead(
    engine: Engine, tenant: Customer
) -> None:
    def fail(tx: Connection, _: Note) -> list[Note]:
        tx.execute(text("SELECT 1 / 0"))
        return []

    bad, good = dead(engine, tenant.id, Note()), dead(engine, tenant.id, UrgentNote())
    aftermath = Aftermath(contract=Note, ended=lambda *_: [], revived=fail)
    with engine.begin() as tx:
        answer = replay(tx, TEST_CATALOG, {"test.note": aftermath}, DeadFilter(), reason="again")
    assert answer.job_ids == [good]
    assert [skipped.job_id for skipped in answer.skipped] == [bad]
    assert answer.skipped[0].reason == "Making it ready failed with DataError."
    assert (job_facts(engine, bad).state, job_facts(engine, good).state) == ("dead", "scheduled")


def test_what_belongs_to_no_job_is_discarded_by_operators_alone(
    engine: Engine, tenant: Customer
) -> None:
    wire = Wire(key="one", queue="high", body="rubbish", headers={}, x_death=[])
    with engine.begin() as tx:
        error = job_error("undecodable", "The message is no task message.")
        bury_stray(tx, wire, kind=None, error=error, again=False)
        ours = DeadFilter(tenant_id=tenant.id)
        assert discard(tx, ours, reason="not ours").number == 0
        others = DeadFilter(code="broken")
        assert discard(tx, others, reason="another one").number == 0
        strays = DeadFilter(code="undecodable", queue="high")
        assert discard(tx, strays, reason="rubbish", dry_run=True) == Discarded(1, more=False)
        assert discard(tx, strays, reason="rubbish") == Discarded(1, more=False)
        assert discard(tx, strays, reason="rubbish").number == 0


def test_a_resolved_incident_that_comes_back_is_open_again(
    engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    job_id = dead(engine, tenant.id, Note(), "Row 1")
    with engine.begin() as tx:
        resolve(tx, incident_of(engine, job_id)["id"], note="mended in 1.2")
    closed = incident_of(engine, job_id)
    assert (closed["state"], closed["count"], closed["closed_at"] is None) == ("resolved", 1, False)
    dead(engine, stranger.id, Note(), "Row 2")
    again = incident_of(engine, job_id)
    assert (again["state"], again["reopened"], again["count"]) == ("open", 1, 2)
    assert (again["message"], again["closed_at"]) == ("Row 2", None)
    assert again["note"] == "mended in 1.2"
    dead(engine, tenant.id, Note())
    assert incident_of(engine, job_id)["reopened"] == 1


def test_an_ignored_incident_is_open_again_only_after_its_time(
    engine: Engine, tenant: Customer
) -> None:
    job_id = dead(engine, tenant.id, Note())
    with engine.begin() as tx:
        ignore(tx, incident_of(engine, job_id)["id"], note="known", days=7)
    dead(engine, tenant.id, Note())
    ignored = incident_of(engine, job_id)
    assert (ignored["state"], ignored["count"], ignored["reopened"]) == ("ignored", 2, 0)
    assert round((ignored["ignored_until"] - ignored["closed_at"]).total_seconds()) == 7 * 86_400
    with engine.begin() as tx:
        tx.execute(text("UPDATE incidents SET ignored_until = clock_timestamp()"))
    dead(engine, tenant.id, Note())
    again = incident_of(engine, job_id)
    assert (again["state"], again["reopened"], again["ignored_until"]) == ("open", 1, None)


def test_a_failed_import_is_finished_by_a_replay_of_its_dead_part(
    api: httpx.Client, engine: Engine, storage: Storage, tenant: Customer, worker: Worker
) -> None:
    def dies(ctx: Context, job: ImportChunk) -> Outcome:
        return Dead("The disk is full.", "disk_full") if job.index == 1 else import_chunk(ctx, job)

    import_id = accepted_import(engine, storage, tenant.id, csv_bytes(["email"], *ROWS))
    worker.handle(ImportChunk, dies)  # type: ignore[arg-type]
    work_off(engine, worker)
    failed = api.get(f"/v1/imports/{import_id}").json()
    assert (failed["status"], failed["error"]["code"]) == ("failed", "disk_full")
    (incident,) = api.get("/v1/dead-letters").json()["items"]
    worker.handle(ImportChunk, import_chunk)  # type: ignore[arg-type]
    body = {"filter": {"incident_id": incident["id"]}}
    assert api.post("/v1/dead-letters/replay", json=body).json()["replayed"] == 1
    assert api.get(f"/v1/imports/{import_id}").json()["status"] == "running"
    work_off(engine, worker)
    assert api.get(f"/v1/imports/{import_id}").json()["status"] == "succeeded"
    assert counts(import_row(engine, import_id)) == (40, 40, 0, 0, 0)
    assert count(engine, "contacts") == 40
    assert_lawful(engine)


@pytest.mark.parametrize("kind", ["import.plan", "import.chunk"])
def test_an_import_whose_job_is_cancelled_is_cancelled_and_its_mail_says_so(
    api: httpx.Client,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    worker: Worker,
    kind: str,
) -> None:
    import_id = accepted_import(engine, storage, tenant.id, csv_bytes(["email"], *ROWS))
    if kind == "import.chunk":
        ((plan, _),) = dispatch(engine)
        worker.deliver(plan)
    (job, *_) = api.get("/v1/jobs", params={"kind": kind}).json()["items"]
    body = {"reason": "the wrong file"}
    assert api.post(f"/v1/jobs/{job['id']}/cancel", json=body).status_code == 202
    work_off(engine, worker)
    shown = api.get(f"/v1/imports/{import_id}").json()
    assert shown["status"] == "cancelled"
    assert shown["error"] == {"code": "cancelled", "message": "the wrong file"}
    assert count(engine, "contacts") == 0
    with engine.connect() as tx:
        mails = text("SELECT count(*) FROM jobs WHERE kind = 'mail.import_finished'")
        assert tx.execute(mails).scalar_one() == 1
        letter = finished_letter(tx, tenant.id, import_id)
    assert (letter.ended, letter.problem) == ("was cancelled", "the wrong file")
    assert_lawful(engine)


def test_a_queued_job_of_another_state_is_never_replayed(engine: Engine, tenant: Customer) -> None:
    job_id = add_queued(engine, tenant.id, Note())
    with engine.begin() as tx:
        answer = replay(tx, TEST_CATALOG, {}, DeadFilter(job_ids=[job_id]), reason="not at all")
    assert answer.job_ids == []
    assert job_facts(engine, job_id).state == "queued"
