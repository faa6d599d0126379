"""Pulling from a CRM that is slow, lost, repetitive, or changes while it is read."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from app.ledger import store
from app.outbound.breaker import circuit_state
from app.settings import Settings
from app.sync.connections import load, scope_of
from tests.support.crm import Crm, after, answers, crm_server, loses_the_answer
from tests.support.customers import Customer
from tests.support.jobs import job_facts, letters
from tests.support.runtime import Worker
from tests.support.syncing import NETWORKS, Sync, connect
from workers.handlers import sync_pull as handler


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, **NETWORKS}


@pytest.fixture
def crm() -> Iterator[Crm]:
    with crm_server() as served:
        yield served


@pytest.fixture
def sync(engine: Engine, worker: Worker, settings: Settings, tenant: Customer, crm: Crm) -> Sync:
    return connect(engine, worker, settings, tenant.id, crm, push=False)


def people(crm: Crm, number: int) -> list[str]:
    for n in range(number):
        crm.add(f"p{n:02}@example.com", ago=9000 - 600 * n, first_name=f"First {n}")
    return sorted(str(one.fields["email"]) for one in crm.people.values())


def cursors(crm: Crm) -> list[str | None]:
    return [one.query.get("cursor") for one in crm.asked]


def test_it_takes_every_page_and_the_next_run_asks_for_changes_alone(sync: Sync, crm: Crm) -> None:
    everybody = people(crm, 7)
    crm.page_items = 3
    run = sync.run()
    assert (run.state, run.counts) == ("succeeded", {"pages": 3, "created": 7})
    assert sync.emails() == everybody
    crm.asked.clear()
    crm.edit(crm.of("p03@example.com"), first_name="New")
    run = sync.run()
    assert run.counts["updated"] == 1
    assert "created" not in run.counts
    assert crm.asked[0].query["updated_since"] > ""
    assert len(crm.asked) == 1
    contact = sync.contact("p03@example.com")
    assert contact is not None
    assert contact["first_name"] == "New"


def test_an_empty_account_says_nothing_about_its_clock(sync: Sync, crm: Crm) -> None:
    """Theirs may be behind ours by more than the overlap: what they add then must not be missed."""
    sync.run()
    crm.add("ada@example.com", ago=600)
    assert sync.run().counts == {"pages": 1, "created": 1}
    assert "updated_since" not in crm.asked[1].query


def test_a_killed_worker_loses_nothing_and_doubles_nothing(
    sync: Sync, crm: Crm, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies between the page's rows and its commit: rows, counts and cursor go together."""
    everybody = people(crm, 6)
    crm.page_items = 2
    run_id = sync.start()
    kept, saves = store.save_checkpoint, []

    def dies(*arguments: object) -> None:
        saves.append(arguments)
        if len(saves) == 3:  # the run's begin, the first page, then this
            raise KeyboardInterrupt
        kept(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "save_checkpoint", dies)
    with pytest.raises(KeyboardInterrupt):
        sync.step()
    monkeypatch.setattr(store, "save_checkpoint", kept)
    assert len(sync.emails()) == 2
    with engine.connect() as tx:
        job_id = tx.execute(text("SELECT id FROM jobs WHERE kind = 'sync.pull'")).scalar_one()
    sync.worker.deliver(job_id, redelivered=True)
    run = sync.load(run_id)
    assert (run.state, run.counts) == ("succeeded", {"pages": 3, "created": 6})
    assert sync.emails() == everybody
    asked = cursors(crm)
    assert len(asked) == 4
    assert asked[1] == asked[2], "it goes on at the cursor of the last commit"


def test_a_page_that_comes_twice_and_changes_while_paging_are_harmless(
    sync: Sync, crm: Crm, engine: Engine
) -> None:
    everybody = people(crm, 6)
    crm.page_items = 2
    first = crm.of("p00@example.com")
    crm.manners.extend([None, after(lambda: crm.edit(first, first_name="Moved"))])
    run = sync.run()
    assert run.state == "succeeded"
    assert (run.counts["created"], run.counts["updated"]) == (6, 1)
    assert sync.emails() == everybody
    page = {"items": [first.shown(), first.shown()], "next_cursor": None}
    crm.manners.append(answers(200, page))
    query = text("SELECT xmin, id FROM sync_links ORDER BY id")
    with engine.connect() as tx:
        written = tx.execute(query).all()
    assert sync.run().counts == {"pages": 1, "unchanged": 1}
    with engine.connect() as tx:
        assert tx.execute(query).all() == written, "what is known is not written again"


def test_an_expired_cursor_begins_the_sweep_again(sync: Sync, crm: Crm) -> None:
    people(crm, 4)
    crm.page_items = 2
    crm.manners.extend([None, after(crm.expire_cursors)])
    run = sync.run()
    assert run.state == "succeeded"
    assert run.counts == {"pages": 3, "created": 4, "unchanged": 2, "restarts": 1}
    crm.manners.append(answers(410))
    assert sync.run().counts["unchanged"] == 4, "a 'since' that is too old asks for everything"


@pytest.mark.parametrize("trouble", [answers(500), answers(502), loses_the_answer])
def test_a_failing_server_is_asked_again_where_it_failed(
    sync: Sync, crm: Crm, trouble: object, engine: Engine
) -> None:
    people(crm, 4)
    crm.page_items = 2
    crm.manners.extend([None, trouble])  # type: ignore[list-item]
    run = sync.run()
    assert (run.state, run.counts) == ("succeeded", {"pages": 2, "created": 4})
    asked = cursors(crm)
    assert asked[1] == asked[2]


def test_429_holds_everybody_back_for_as_long_as_it_says(
    sync: Sync, crm: Crm, engine: Engine
) -> None:
    people(crm, 1)
    crm.manners.append(answers(429, retry_after="40"))
    sync.start()
    job_id = sync.step()
    assert job_id is not None
    facts = job_facts(engine, job_id)
    assert (facts.state, facts.error) == ("scheduled", None)
    assert 35 < facts.wait_seconds <= 40
    assert facts.max_attempts == 9, "it costs no attempt"
    sync.step()
    assert len(crm.asked) == 1, "nobody asks before the time is over"
    assert 30 < job_facts(engine, job_id).wait_seconds <= 40


def test_a_server_that_is_down_opens_the_circuit_and_is_left_alone(
    sync: Sync, crm: Crm, engine: Engine
) -> None:
    crm.manners.extend([answers(500)] * 5)
    sync.start()
    for _ in range(9):
        job_id = sync.step()
    assert len(crm.asked) == 5
    assert job_id is not None
    facts = job_facts(engine, job_id)
    assert facts.state == "scheduled"
    assert facts.max_attempts == 8 + 4, "waiting for the circuit costs no attempt"
    with engine.connect() as tx:
        circuit = circuit_state(tx, sync.tenant_id, scope_of(sync.connection_id))
    assert circuit is not None
    assert (circuit.state, circuit.reason) == ("open", "RemoteFailure: The server answered 500.")


def test_a_revoked_token_pauses_the_connection_and_is_an_incident(
    sync: Sync, crm: Crm, engine: Engine
) -> None:
    people(crm, 2)
    crm.token = "another"
    run = sync.run()
    assert run.state == "failed"
    assert run.error is not None
    assert run.error["code"] == "sync_unauthorized"
    assert "PATCH /v1/connections" in run.error["message"]
    assert len(crm.asked) == 1
    with engine.connect() as tx:
        account = load(tx, sync.tenant_id, sync.connection_id)
        job_id = tx.execute(text("SELECT id FROM jobs")).scalar_one()
    assert account.state == "paused"
    assert account.error == run.error
    assert letters(engine, job_id)[0].incident_state == "open"
    sync.change(token="another")
    assert sync.run().counts["created"] == 2


def test_a_run_of_a_connection_that_is_paused_meanwhile_ends(sync: Sync, crm: Crm) -> None:
    people(crm, 1)
    run_id = sync.start()
    sync.change(paused=True)
    sync.step()
    assert sync.load(run_id).state == "cancelled"
    assert crm.asked == []
    sync.change(paused=False)
    assert sync.run().state == "succeeded"


@pytest.mark.parametrize(
    "body",
    [
        {"items": [{"id": "1"}]},
        {"items": "none"},
        [],
        {"items": [], "next_cursor": ""},
    ],
)
def test_an_answer_in_another_shape_is_dead_with_a_word_of_why(
    sync: Sync, crm: Crm, body: object
) -> None:
    crm.manners.append(answers(200, body or [1]))
    run = sync.run()
    assert run.state == "failed"
    assert run.error is not None
    assert run.error["code"] == "sync_refused"
    assert "agreed shape" in run.error["message"]


def test_a_cursor_that_does_not_move_is_no_endless_loop(sync: Sync, crm: Crm) -> None:
    crm.manners.extend([answers(200, {"items": [], "next_cursor": "c"})] * 3)
    run = sync.run()
    assert run.state == "failed"
    assert len(crm.asked) == 2


def test_a_cursor_that_is_refused_is_not_asked_for_again(sync: Sync, crm: Crm) -> None:
    people(crm, 1)
    crm.manners.extend([answers(200, {"items": [], "next_cursor": "odd"}), answers(400)])
    assert sync.run().state == "failed"
    assert sync.run().state == "succeeded"
    assert cursors(crm)[:3] == [None, "odd", None]


def test_what_is_no_contact_of_ours_is_skipped_and_counted(sync: Sync, crm: Crm) -> None:
    crm.add(None)
    crm.add("no address")
    crm.add("Ada@Example.com", first_name="Ada\u0000", company="  ")
    crm.add("ada@example.com")
    run = sync.run()
    assert run.counts == {"pages": 1, "skipped": 3, "created": 1}
    contact = sync.contact("ada@example.com")
    assert contact is not None
    assert (contact["company"], "\x00" in str(contact["first_name"])) == (None, False)


def test_a_long_pull_goes_on_in_another_delivery(
    sync: Sync, crm: Crm, monkeypatch: pytest.MonkeyPatch
) -> None:
    people(crm, 6)
    crm.page_items = 2
    monkeypatch.setattr(handler, "ROUND_SECONDS", 0.0)
    run_id = sync.start()
    assert sync.step() is not None
    assert sync.load(run_id).state == "running"
    monkeypatch.setattr(handler, "ROUND_SECONDS", 60.0)
    sync.step()
    assert sync.load(run_id).counts == {"pages": 3, "created": 6}
