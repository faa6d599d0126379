"""Pushing: once, whatever dies; nothing echoes; and the conflict rule, on both sides."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text

from app.ledger import store
from app.settings import Settings
from tests.support.crm import Crm, after, answers, crm_server, loses_the_answer
from tests.support.customers import Customer
from tests.support.runtime import Worker
from tests.support.syncing import NETWORKS, Sync, connect
from workers.handlers import sync_push as handler

ADA, BOB, CLEO = "ada@example.com", "bob@example.com", "cleo@example.com"


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, **NETWORKS}


@pytest.fixture
def crm() -> Iterator[Crm]:
    with crm_server() as served:
        yield served


@pytest.fixture
def sync(engine: Engine, worker: Worker, settings: Settings, tenant: Customer, crm: Crm) -> Sync:
    return connect(engine, worker, settings, tenant.id, crm)


def twins(sync: Sync, crm: Crm, email: str = ADA, **fields: Any) -> None:
    """A contact on both sides, in step."""
    crm.add(email, **fields)
    assert sync.run().state == "succeeded"
    crm.changes.clear()
    crm.asked.clear()


def here(sync: Sync, email: str = ADA) -> dict[str, Any]:
    found = sync.contact(email)
    assert found is not None
    return found


def test_nothing_that_came_from_there_goes_back(sync: Sync, crm: Crm) -> None:
    crm.add(ADA, first_name="Ada")
    crm.add(BOB)
    for _ in range(2):
        run = sync.run()
        assert run.state == "succeeded"
    crm.edit(crm.of(ADA), first_name="Augusta")
    assert sync.run().counts["updated"] == 1
    sync.run()
    assert crm.changes == []
    assert {one.method for one in crm.asked} == {"GET"}


def test_what_is_new_or_changed_here_goes_there_and_does_not_come_back(
    sync: Sync, crm: Crm
) -> None:
    twins(sync, crm, first_name="Ada", company="Engines")
    sync.add(BOB, first_name="Bob")
    sync.edit(ADA, company="Looms")
    run = sync.run()
    assert (run.counts["created_there"], run.counts["updated_there"]) == (1, 1)
    assert crm.of(BOB).fields["first_name"] == "Bob"
    assert crm.of(ADA).fields["company"] == "Looms"
    assert [one.body for one in crm.asked if one.method == "PATCH"] == [{"company": "Looms"}]
    before = here(sync)
    counts = sync.run().counts
    assert set(counts) == {"pages", "unchanged"}
    assert here(sync) == before
    assert len(crm.changes) == 2


@pytest.mark.parametrize("trouble", [loses_the_answer, answers(500)])
def test_a_change_whose_answer_is_lost_is_repeated_and_made_once(
    sync: Sync, crm: Crm, trouble: Any
) -> None:
    twins(sync, crm)
    sync.edit(ADA, company="Looms")
    sync.add(BOB)
    crm.manners.extend([None, trouble, None, trouble])
    run = sync.run()
    assert run.state == "succeeded"
    assert sorted(method for method, _ in crm.changes) == ["PATCH", "POST"]
    keys = [one.key for one in crm.asked if one.method == "PATCH"]
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert len(crm.people) == 2


def test_a_killed_worker_sends_the_same_bytes_with_the_same_keys(
    sync: Sync, crm: Crm, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies when the calls are made and nothing of them is recorded; the contact changes meanwhile."""
    for email in (ADA, BOB, CLEO):
        sync.add(email, first_name="Old")
    run_id = sync.start()
    sync.step()
    kept, saves = store.save_checkpoint, []

    def dies(*arguments: object) -> None:
        saves.append(arguments)
        if len(saves) == 3:  # the run's begin, the intents, then the answers
            raise KeyboardInterrupt
        kept(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "save_checkpoint", dies)
    with pytest.raises(KeyboardInterrupt):
        sync.step()
    monkeypatch.setattr(store, "save_checkpoint", kept)
    assert len(crm.people) == 3
    sync.edit(ADA, first_name="New")
    with engine.connect() as tx:
        job_id = tx.execute(text("SELECT id FROM jobs WHERE kind = 'sync.push'")).scalar_one()
    sync.worker.deliver(job_id, redelivered=True)
    assert sync.load(run_id).state == "succeeded"
    assert [method for method, _ in crm.changes] == ["POST"] * 3
    posts = [(one.key, one.raw) for one in crm.asked if one.method == "POST"]
    assert posts[:3] == posts[3:]
    assert crm.of(ADA).fields["first_name"] == "Old", "what changed meanwhile is the next run's"
    sync.run()
    assert crm.of(ADA).fields["first_name"] == "New"


def test_changes_of_different_fields_are_both_kept(sync: Sync, crm: Crm) -> None:
    twins(sync, crm, first_name="Ada", company="Engines", phone="1")
    sync.edit(ADA, company="Looms")
    crm.edit(crm.of(ADA), first_name="Augusta")
    run = sync.run()
    assert "conflicts" not in run.counts
    for side in (here(sync), crm.of(ADA).fields):
        assert (side["first_name"], side["company"], side["phone"]) == ("Augusta", "Looms", "1")


@pytest.mark.parametrize(("ours_ago", "theirs_ago", "wins"), [(0, 60, "Ours"), (60, 0, "Theirs")])
def test_of_two_changes_of_one_field_the_last_one_wins(
    sync: Sync, crm: Crm, ours_ago: float, theirs_ago: float, wins: str
) -> None:
    twins(sync, crm, company="Engines")
    sync.edit(ADA, company="Ours", ago=ours_ago)
    crm.edit(crm.of(ADA), company="Theirs", ago=theirs_ago)
    assert sync.run().counts["conflicts"] == 1
    assert (here(sync)["company"], crm.of(ADA).fields["company"]) == (wins, wins)


def test_a_contact_that_changes_there_while_we_send_is_merged_in_the_same_run(
    sync: Sync, crm: Crm
) -> None:
    twins(sync, crm, first_name="Ada", company="Engines")
    sync.edit(ADA, company="Looms")
    twin = crm.of(ADA)
    crm.manners.extend([None, after(lambda: crm.edit(twin, first_name="Augusta"))])
    run = sync.run()
    assert (run.state, run.counts["met"], run.counts["updated_there"]) == ("succeeded", 1, 1)
    assert (twin.fields["first_name"], twin.fields["company"]) == ("Augusta", "Looms")
    assert here(sync)["first_name"] == "Augusta"


def test_contacts_of_one_address_become_twins_at_the_first_meeting(sync: Sync, crm: Crm) -> None:
    sync.add(ADA, first_name="Ada", company="Ours")
    crm.add(ADA, ago=3600, company="Theirs", phone="1")
    sync.run()
    for side in (here(sync), crm.of(ADA).fields):
        assert (side["first_name"], side["company"], side["phone"]) == ("Ada", "Ours", "1")
    assert len(crm.people) == 1


def test_one_that_appears_there_just_before_we_make_it_becomes_the_twin(
    sync: Sync, crm: Crm
) -> None:
    sync.add(ADA, first_name="Ada")
    crm.manners.extend([None, after(lambda: crm.add(ADA, company="Theirs"))])
    run = sync.run()
    assert run.state == "succeeded"
    assert len(crm.people) == 1
    for side in (here(sync), crm.of(ADA).fields):
        assert (side["first_name"], side["company"]) == ("Ada", "Theirs")


class TestDeletionsKept:
    def test_here_and_there_they_stay_apart(self, sync: Sync, crm: Crm) -> None:
        crm.add(BOB)
        twins(sync, crm)
        sync.remove(ADA)
        crm.remove(crm.of(BOB))
        assert sync.run().counts["kept"] == 2
        crm.edit(crm.of(ADA), company="New")
        sync.edit(BOB, company="New")
        sync.run()
        assert sync.emails() == [BOB]
        assert crm.changes == []
        assert not crm.of(ADA).deleted

    def test_what_was_kept_stays_when_later_ones_are_mirrored(self, sync: Sync, crm: Crm) -> None:
        """A sweep lists the deletions of the last minutes again."""
        crm.add(BOB)
        twins(sync, crm)
        crm.remove(crm.of(BOB))
        assert sync.run().counts["kept"] == 1
        sync.change(deletes="mirror")
        crm.remove(crm.of(ADA))
        assert sync.run().counts["deleted"] == 1
        assert sync.emails() == [BOB]
        assert crm.changes == []


class TestDeletionsMirrored:
    @pytest.fixture
    def sync(
        self, engine: Engine, worker: Worker, settings: Settings, tenant: Customer, crm: Crm
    ) -> Sync:
        return connect(engine, worker, settings, tenant.id, crm, deletes="mirror")

    def test_they_go_both_ways(self, sync: Sync, crm: Crm) -> None:
        crm.add(BOB)
        twins(sync, crm)
        sync.remove(ADA)
        bob = crm.of(BOB)
        crm.remove(bob)
        run = sync.run()
        assert (run.counts["deleted"], run.counts["deleted_there"]) == (1, 1)
        assert sync.emails() == []
        assert crm.of(ADA).deleted
        assert set(sync.run().counts) == {"pages", "unchanged"}

    def test_an_edit_beats_a_deletion(self, sync: Sync, crm: Crm) -> None:
        crm.add(BOB)
        twins(sync, crm)
        sync.remove(ADA)
        crm.edit(crm.of(ADA), company="Theirs")
        crm.remove(crm.of(BOB))
        sync.edit(BOB, company="Ours")
        sync.run()
        assert here(sync)["company"] == "Theirs"
        alive = [one for one in crm.people.values() if not one.deleted]
        assert {one.fields["email"]: one.fields["company"] for one in alive} == {
            ADA: "Theirs",
            BOB: "Ours",
        }

    def test_a_deletion_meets_an_edit_that_came_while_we_were_sending(
        self, sync: Sync, crm: Crm
    ) -> None:
        twins(sync, crm)
        twin = crm.of(ADA)
        sync.remove(ADA)
        crm.manners.extend([None, after(lambda: crm.edit(twin, company="Theirs"))])
        sync.run()
        assert here(sync)["company"] == "Theirs"
        assert not twin.deleted

    def test_one_that_goes_there_while_we_were_sending(self, sync: Sync, crm: Crm) -> None:
        twins(sync, crm)
        twin = crm.of(ADA)
        sync.edit(ADA, company="Ours")
        crm.manners.extend([None, after(lambda: crm.remove(twin))])
        run = sync.run()
        assert run.counts["created_there"] == 1
        (alive,) = [one for one in crm.people.values() if not one.deleted]
        assert (alive.fields["company"], sync.emails()) == ("Ours", [ADA])


def test_what_the_server_refuses_is_counted_and_not_sent_again(sync: Sync, crm: Crm) -> None:
    sync.add(ADA)
    sync.add(BOB)
    crm.manners.extend([None, answers(403)])
    run = sync.run()
    assert (run.state, run.counts["refused"], run.counts["created_there"]) == ("succeeded", 1, 1)
    asked = len(crm.asked)
    sync.run()
    assert len(crm.asked) == asked + 1
    sync.edit(ADA, company="Now it fits")
    assert sync.run().counts["created_there"] == 1


def test_a_long_push_goes_on_in_another_delivery(
    sync: Sync, monkeypatch: pytest.MonkeyPatch, crm: Crm
) -> None:
    for n in range(25):
        sync.add(f"p{n:02}@example.com")
    run_id = sync.start()
    sync.step()
    monkeypatch.setattr(handler, "ROUND_SECONDS", 0.0)
    sync.step()
    assert sync.load(run_id).state == "running"
    monkeypatch.setattr(handler, "ROUND_SECONDS", 60.0)
    sync.step()
    assert sync.load(run_id).state == "succeeded"
    assert len(crm.people) == 25
    assert [method for method, _ in crm.changes] == ["POST"] * 25


def test_a_token_that_is_revoked_between_pull_and_push_is_said_once(sync: Sync, crm: Crm) -> None:
    sync.add(ADA)
    crm.manners.extend([None, answers(401)])
    run = sync.run()
    assert (run.state, run.error is not None) == ("failed", True)
    sync.change(token="secret-token")
    assert sync.run().state == "succeeded"
    assert [method for method, _ in crm.changes] == ["POST"]
