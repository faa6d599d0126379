"""Dead letters over HTTP: by cause, each tenant its own, replayed and discarded."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine, text

from app.broker.topology import Queue
from app.ids import new_id
from app.settings import Settings
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.deaths import TEST_CATALOG, Greeting, dead, incident_of, letter_of, rewrite
from tests.support.jobs import (
    LazyNote,
    Note,
    UrgentNote,
    assert_lawful,
    claim_now,
    count,
    events,
    job_facts,
    requeue,
)
from tests.support.problems import assert_problem
from tests.support.web import Web, web_server

EVERYTHING = {"filter": {"all": True}}
TABLES = ("jobs", "job_history", "outbox", "dead_letters", "incidents", "effects", "deadlines")


@pytest.fixture
def web(settings: Settings, storage: Storage) -> Iterator[Web]:
    with web_server(settings, catalog=TEST_CATALOG) as served:
        yield served


def listed(api: httpx.Client, path: str = "", **query: object) -> list[dict[str, Any]]:
    answer = api.get(f"/v1/dead-letters{path}", params=query)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def replay(api: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = api.post("/v1/dead-letters/replay", json=body)
    assert answer.status_code == 200, answer.text
    replayed: dict[str, Any] = answer.json()
    return replayed


def everything(engine: Engine) -> dict[str, list[str]]:
    """Every row of every table that a replay or discard may touch."""
    with engine.connect() as tx:
        return {
            name: sorted(tx.execute(text(f"SELECT t::text FROM {name} t")).scalars())  # noqa: S608
            for name in TABLES
        }


def states(engine: Engine, *job_ids: UUID) -> list[str]:
    return [job_facts(engine, job_id).state for job_id in job_ids]


def test_deaths_of_one_cause_are_one_incident_with_the_tenants_own_figures(
    api: httpx.Client, engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    first = dead(engine, tenant.id, Note(), "Row 1 of ours", frame="app.a:f")
    dead(engine, stranger.id, Note(), "Row 2 of theirs", frame="app.a:f")
    other = dead(engine, tenant.id, UrgentNote(), "Another cause", code="timeout", frame="app.b:g")
    newest = dead(engine, tenant.id, Note(), "Row 3 of ours", frame="app.a:f")
    dead(engine, stranger.id, Note(), "Row 4 of theirs", frame="app.a:f")
    dead(engine, stranger.id, LazyNote(), "Only theirs")
    second, one = listed(api)
    assert (one["count"], one["jobs"]) == (2, [str(newest), str(first)])
    assert (one["message"], one["error_type"], one["code"]) == (
        "Row 3 of ours",
        "KeyError",
        "broken",
    )
    assert one["first_seen"] < one["last_seen"]
    assert (second["kind"], second["count"], second["jobs"]) == ("test.urgent", 1, [str(other)])
    assert "theirs" not in json.dumps(listed(api))
    assert "secret internals" not in json.dumps(listed(api))
    assert incident_of(engine, first)["count"] == 4


def test_the_list_is_filtered_paged_and_of_open_letters_alone(
    api: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    gone = [dead(engine, tenant.id, Note(), frame=f"app.a:f{n}") for n in range(5)]
    urgent = dead(engine, tenant.id, UrgentNote())
    newest = [str(incident_of(engine, job_id)["id"]) for job_id in [urgent, *gone[::-1]]]
    pages: list[list[str]] = []
    cursor = None
    while cursor or not pages:
        query = {"limit": "4", **({"cursor": cursor} if cursor else {})}
        page = api.get("/v1/dead-letters", params=query).json()
        pages.append([item["id"] for item in page["items"]])
        cursor = page["next_cursor"]
    assert pages == [newest[:4], newest[4:]]
    assert [item["kind"] for item in listed(api, kind="test.urgent")] == ["test.urgent"]
    assert listed(api, kind="test.none") == listed(api, state="resolved") == []
    replay(api, filter={"job_ids": [str(urgent)]})
    assert len(listed(api, state="open")) == len(listed(api)) == 5


def test_an_incident_names_the_five_newest_jobs(
    api: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    gone = [str(dead(engine, tenant.id, Note(), frame="app.a:f")) for _ in range(7)]
    (incident,) = listed(api)
    assert (incident["count"], incident["jobs"]) == (7, gone[:1:-1])


def test_letters_are_paged_and_say_everything_but_the_inside(
    api: httpx.Client, engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    gone = [dead(engine, tenant.id, Note(), f"Number {n}", frame="app.a:f") for n in range(3)]
    dead(engine, stranger.id, Note(), "Theirs", frame="app.a:f")
    incident = incident_of(engine, gone[0])["id"]
    first = api.get(f"/v1/dead-letters/{incident}", params={"limit": 2})
    rest = listed(api, f"/{incident}", cursor=first.json()["next_cursor"])
    letters = [*first.json()["items"], *rest]
    assert [letter["job_id"] for letter in letters] == [str(job_id) for job_id in gone[::-1]]
    newest = letters[0]
    assert newest["error"] == {"code": "broken", "message": "Number 2", "type": "KeyError"}
    assert (newest["queue"], newest["attempts"], newest["state"]) == ("default", 1, "open")
    assert newest["first_failed_at"] <= newest["last_failed_at"]
    assert "secret internals" not in first.text
    replay(api, filter={"job_ids": [str(gone[1])]})
    (replayed,) = listed(api, f"/{incident}", state="replayed")
    assert (replayed["job_id"], replayed["closed_at"] is None) == (str(gone[1]), False)
    assert len(listed(api, f"/{incident}", state="open")) == 2


def test_an_incident_that_does_not_touch_the_tenant_is_not_there(
    api: httpx.Client, engine: Engine, stranger: Customer
) -> None:
    theirs = incident_of(engine, dead(engine, stranger.id, Note()))["id"]
    assert listed(api) == []
    assert_problem(api.get(f"/v1/dead-letters/{theirs}"), 404, "not_found")
    assert_problem(api.get(f"/v1/dead-letters/{new_id()}"), 404, "not_found")
    assert_problem(api.get("/v1/dead-letters/x"), 422, "invalid_parameters")


def test_a_filter_must_say_what_it_means(
    api: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    job_id = dead(engine, tenant.id, Note())
    cases: tuple[dict[str, object], ...] = (
        {},
        {"all": False},
        {"all": True, "kind": "test.note"},
        {"job_ids": []},
        {"job_ids": [str(new_id())] * 1001},
        {"kind": ""},
        {"kind": "\x00"},
        {"queue": "dead"},
        {"died_after": "2026-01-01T00:00:00"},
        {"tenant_id": str(new_id())},
    )
    for chosen in cases:
        replayed = api.post("/v1/dead-letters/replay", json={"filter": chosen})
        assert_problem(replayed, 422, "invalid_parameters")
        body = {"filter": chosen, "reason": "a reason"}
        refused = api.post("/v1/dead-letters/discard", json=body)
        assert_problem(refused, 422, "invalid_parameters")
    for more in ({"rate": 0}, {"rate": -1}, {"rate": 1e9}, {"reason": "x"}, {"rate": "NaN"}):
        answer = api.post("/v1/dead-letters/replay", json={**EVERYTHING, **more})
        assert_problem(answer, 422, "invalid_parameters")
    assert states(engine, job_id) == ["dead"]


def test_a_dry_run_says_what_a_replay_does_and_changes_nothing(
    api: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    for job in (Note(), Note(), UrgentNote(), Greeting(name="Ada")):
        old = dead(engine, tenant.id, job)
    rewrite(engine, old, version=1, payload='{"who": "Ada"}')
    unknown = dead(engine, tenant.id, LazyNote())
    with engine.begin() as tx:
        tx.execute(text("UPDATE jobs SET kind = 'no.more' WHERE id = :id"), {"id": unknown})
    before = everything(engine)
    said = replay(api, **EVERYTHING, rate=2, dry_run=True)
    assert everything(engine) == before
    assert (said["dry_run"], said["replayed"], said["upcast"]) == (True, 4, 1)
    assert said["by_kind"] == {"test.note": 2, "test.urgent": 1, "test.greeting": 1}
    assert said["skipped"] == [
        {"job_id": str(unknown), "reason": "There is no kind 'no.more' any more."}
    ]
    assert (said["seconds"], said["more"]) == (1.5, False)
    assert replay(api, **EVERYTHING, rate=2) == {**said, "dry_run": False}
    assert replay(api, **EVERYTHING)["replayed"] == 0
    assert_lawful(engine)


def test_a_replay_brings_an_old_payload_to_the_contract(
    api: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    old, broken = (dead(engine, tenant.id, Greeting(name="Ada")) for _ in range(2))
    rewrite(engine, old, version=1, payload='{"who": "Bob"}')
    rewrite(engine, broken, version=1, payload='{"whom": "Bob"}')
    answer = replay(api, **EVERYTHING)
    assert (answer["replayed"], answer["upcast"]) == (1, 1)
    assert [skipped["job_id"] for skipped in answer["skipped"]] == [str(broken)]
    assert states(engine, old, broken) == ["scheduled", "dead"]
    requeue(engine, old)
    with engine.begin() as tx:
        claimed = claim_now(tx, old)
    assert claimed is not None
    assert (claimed.version, claimed.payload) == (2, {"name": "Bob", "times": 1})
    assert (claimed.attempt, claimed.max_attempts) == (2, 1 + Greeting.spec.retry.attempts)


def test_a_rate_spreads_the_jobs_over_time(
    api: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    gone = [dead(engine, tenant.id, Note()) for _ in range(4)]
    assert replay(api, **EVERYTHING, rate=0.1)["seconds"] == 30
    waits = [job_facts(engine, job_id).wait_seconds for job_id in gone]
    for wait, ideal in zip(waits, (0, 10, 20, 30), strict=True):
        assert ideal - 9 < wait <= ideal
    assert all(job_facts(engine, job_id).outbox for job_id in gone)


def test_each_part_of_the_filter_counts(
    api: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    note = dead(engine, tenant.id, Note(), code="broken")
    urgent = dead(engine, tenant.id, UrgentNote(), code="timeout")
    died = letter_of(engine, urgent)["last_failed_at"].isoformat()
    cases: tuple[tuple[dict[str, object], UUID], ...] = (
        ({"job_ids": [str(note)]}, note),
        ({"incident_id": str(incident_of(engine, urgent)["id"])}, urgent),
        ({"kind": "test.urgent"}, urgent),
        ({"queue": Queue.HIGH}, urgent),
        ({"code": "broken"}, note),
        ({"died_after": died}, urgent),
        ({"died_before": died}, note),
    )
    for chosen, expected in cases:
        answer = replay(api, filter=chosen, dry_run=True)
        kind = job_kind(engine, expected)
        assert (chosen, answer["by_kind"]) == (chosen, {kind: 1})
    neither = {"kind": "test.note", "code": "timeout"}
    assert replay(api, filter=neither, dry_run=True)["replayed"] == 0


def job_kind(engine: Engine, job_id: UUID) -> str:
    with engine.connect() as tx:
        found = tx.execute(text("SELECT kind FROM jobs WHERE id = :id"), {"id": job_id})
        return str(found.scalar_one())


def test_nobody_replays_or_discards_what_is_anothers(
    api: httpx.Client, engine: Engine, stranger: Customer
) -> None:
    theirs = dead(engine, stranger.id, Note())
    before = everything(engine)
    incident = str(incident_of(engine, theirs)["id"])
    for chosen in ({"all": True}, {"job_ids": [str(theirs)]}, {"incident_id": incident}):
        assert replay(api, filter=chosen)["replayed"] == 0
        body = {"filter": chosen, "reason": "not ours"}
        assert api.post("/v1/dead-letters/discard", json=body).json()["discarded"] == 0
    assert everything(engine) == before


def test_a_discard_needs_a_reason_and_keeps_it(
    api: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    gone, other = dead(engine, tenant.id, Note()), dead(engine, tenant.id, UrgentNote())
    for reason in (None, "", "no", "x" * 501):
        unsaid = {**EVERYTHING, "reason": reason}
        refused = api.post("/v1/dead-letters/discard", json=unsaid)
        assert_problem(refused, 422, "invalid_parameters")
    body = {"filter": {"kind": "test.note"}, "reason": "the customer left"}
    before = everything(engine)
    said = api.post("/v1/dead-letters/discard", json={**body, "dry_run": True}).json()
    assert (said, everything(engine)) == (
        {"dry_run": True, "discarded": 1, "more": False},
        before,
    )
    assert api.post("/v1/dead-letters/discard", json=body).json()["discarded"] == 1
    assert states(engine, gone, other) == ["dead", "dead"]
    last = api.get(f"/v1/jobs/{gone}").json()["history"][-1]
    assert (last["event"], last["error"]["message"]) == ("discard", "the customer left")
    letter = letter_of(engine, gone)
    assert (letter["state"], letter["closed_reason"]) == ("discarded", "the customer left")
    assert api.post("/v1/dead-letters/discard", json=body).json()["discarded"] == 0
    by_id = {"filter": {"job_ids": [str(gone)]}, "reason": "and again"}
    assert api.post("/v1/dead-letters/discard", json=by_id).json()["discarded"] == 0
    assert events(engine, gone).count("discard") == 1
    assert_lawful(engine)


def test_what_was_discarded_is_replayed_only_by_its_own_id(
    api: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    gone = dead(engine, tenant.id, Note())
    api.post("/v1/dead-letters/discard", json={**EVERYTHING, "reason": "by mistake"})
    assert replay(api, **EVERYTHING)["replayed"] == 0
    assert replay(api, filter={"job_ids": [str(gone)]})["replayed"] == 1
    assert letter_of(engine, gone)["state"] == "replayed"
    assert_lawful(engine)


def test_a_replayed_job_has_no_deadline_and_no_reminder_of_one(
    api: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    job_id = dead(engine, tenant.id, Note())
    with engine.begin() as tx:
        tx.execute(text("UPDATE jobs SET deadline = clock_timestamp() + interval '1 h'"))
        tx.execute(text("INSERT INTO deadlines SELECT id, deadline FROM jobs"))
    assert replay(api, **EVERYTHING)["replayed"] == 1
    assert count(engine, "deadlines") == 0
    assert api.get(f"/v1/jobs/{job_id}").json()["deadline"] is None


_COPY_JOB = text("""
    INSERT INTO jobs (id, tenant_id, kind, version, queue, state, payload, max_attempts, run_at,
                      parent_id)
    SELECT gen_random_uuid(), tenant_id, kind, version, queue, state, payload, max_attempts, run_at,
           id
    FROM jobs, generate_series(1, :copies) WHERE id = :id
""")
_COPY_LETTER = text("""
    INSERT INTO dead_letters (id, incident_id, job_id, tenant_id, kind, queue, code, error,
                              attempt, first_failed_at, last_failed_at)
    SELECT gen_random_uuid(), incident_id, j.id, d.tenant_id, d.kind, d.queue, d.code, d.error,
           d.attempt, d.first_failed_at, d.last_failed_at
    FROM jobs j, dead_letters d WHERE j.parent_id = :id AND d.job_id = :id
""")


def test_a_tenants_list_is_read_by_index(
    engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    ours, theirs = (dead(engine, each.id, Note()) for each in (tenant, stranger))
    with engine.begin() as tx:
        for job_id, copies in ((ours, 300), (theirs, 15_000)):
            tx.execute(_COPY_JOB, {"id": job_id, "copies": copies})
            tx.execute(_COPY_LETTER, {"id": job_id})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as tx:
        tx.execute(text("ANALYZE dead_letters, jobs"))
    incident = incident_of(engine, ours)["id"]
    for plan in plans(engine, tenant.id, incident):
        assert "Seq Scan on dead_letters" not in plan, plan
        assert "Index" in plan


def plans(engine: Engine, tenant_id: UUID, incident_id: UUID) -> Iterator[str]:
    """How PostgreSQL reads the tenant's lists."""
    from app.ledger import letters, replay

    page = {"state": None, "kind": None, "before": None, "limit": 51}
    one = {**page, "incident_id": incident_id, "tenant_id": tenant_id}
    chosen = replay.DeadFilter(tenant_id=tenant_id).parameters()
    for statement, facts in (
        (letters._TENANTS_INCIDENTS, {**page, "tenant_id": tenant_id, "shown": 5}),
        (letters._LETTERS, one),
        (replay._LOOK, {**chosen, "limit": 100, "after": None}),
    ):
        with engine.connect() as tx:
            explained = tx.execute(text(f"EXPLAIN {statement.text}"), facts)
            yield "\n".join(explained.scalars())
