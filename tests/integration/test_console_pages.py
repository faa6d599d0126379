"""The operators' pages over everything that they show: what viewers don't see, and what is found by which search."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.ledger.rules import Scope, load_rules
from app.ledger.search import Wanted, first_id_at, search
from app.ledger.state import State
from app.roles import Role
from app.settings import Settings
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.deaths import TEST_CATALOG, dead
from tests.support.filled import CANARY, Filled, fill
from tests.support.jobs import LazyNote, Note, UrgentNote, add, add_queued, jobs_of, running
from tests.support.operators import Operator, audited, signed_in
from tests.support.web import Web, web_server


@pytest.fixture
def web(settings: Settings, storage: Storage) -> Iterator[Web]:
    with web_server(settings, catalog=TEST_CATALOG) as served:
        yield served


@pytest.fixture
def filled(engine: Engine, tenant: Customer) -> Filled:
    return fill(engine, tenant)


@pytest.fixture
def viewer(web: Web, engine: Engine) -> Iterator[Operator]:
    with signed_in(web, engine, Role.VIEWER) as made:
        yield made


@pytest.fixture
def admin(web: Web, engine: Engine) -> Iterator[Operator]:
    with signed_in(web, engine, Role.ADMIN) as made:
        yield made


class TestHiding:
    def test_viewers_see_nothing_of_what_customers_sent(
        self, viewer: Operator, admin: Operator, filled: Filled
    ) -> None:
        seen, wanted = set(), set(filled.pages)
        links: set[str] = set()
        for path in filled.pages:
            page = viewer.look(f"/console/{path}")
            assert CANARY not in page, path
            assert "Traceback" not in page, path
            assert not re.search(r'<form[^>]*method="post"(?![^>]*sign-out)', page), path
            links |= set(re.findall(r'href="(/console/[^"#]+)"', page))
            whole = admin.look(f"/console/{path}")
            seen |= {path} if CANARY in whole else set()
        bare = {"overview", "dispatch", "schedules", "audit"}
        assert wanted - seen == bare, "a page shows nothing of what was to be hidden"
        for link in links:
            answer = viewer.client.get(link.replace("&amp;", "&"))
            assert answer.status_code in {200, 303} or link == "/console/access", link
            assert CANARY not in answer.text, link

    def test_a_viewers_search_tells_nothing_of_it_either(
        self, viewer: Operator, admin: Operator, filled: Filled
    ) -> None:
        for words in ("canary-key", "canary message"):
            assert "Viewers search by ids" in viewer.look("/console/jobs", q=words)
            assert "/console/jobs/01" in admin.look("/console/jobs", q=words)
        assert f"/console/jobs/{filled.dead}" in viewer.look("/console/jobs", q=str(filled.dead))


class TestSearch:
    def test_each_part_of_a_search_narrows_it(
        self, engine: Engine, tenant: Customer, stranger: Customer
    ) -> None:
        scheduled = add(engine, tenant.id, Note())
        queued = add_queued(engine, stranger.id, UrgentNote())
        runs = running(engine, tenant.id, LazyNote()).id
        gone = dead(engine, stranger.id, Note(), "No room in the inn", code="full")
        newest_first = [gone, runs, queued, scheduled]

        def found(**parts: object) -> list[UUID]:
            with engine.connect() as tx:
                answer = search(tx, Wanted(**parts), limit=50)  # type: ignore[arg-type]
            assert (answer.complete, answer.next_before) == (True, None)
            return [job.id for job in answer.jobs]

        assert found() == newest_first
        assert found(kind="test.note") == [gone, scheduled]
        assert found(tenant_id=stranger.id) == [gone, queued]
        for state, wanted in (
            (State.SCHEDULED, [scheduled]),
            (State.QUEUED, [queued]),
            (State.RUNNING, [runs]),
            (State.DEAD, [gone]),
            (State.WAITING, []),
            (State.SUCCEEDED, []),
        ):
            assert found(state=state) == wanted
            assert found(state=state, tenant_id=tenant.id) == [
                job_id for job_id in wanted if job_id in {scheduled, runs}
            ]
        assert found(words="ROOM IN") == found(words="full") == [gone]
        now = datetime.now(UTC)
        assert found(until=now - timedelta(minutes=1)) == found(since=now + timedelta(1)) == []
        assert found(since=now - timedelta(minutes=1), until=now + timedelta(1)) == newest_first

    def test_it_stops_at_its_window_and_goes_on_from_there(
        self, engine: Engine, tenant: Customer
    ) -> None:
        rare = [add(engine, tenant.id, UrgentNote())]
        rare += [add(engine, tenant.id, Note()) and add(engine, tenant.id, UrgentNote())]
        for _ in range(4):
            add(engine, tenant.id, Note())
        got: list[UUID] = []
        steps, before = 0, None
        with engine.connect() as tx:
            while steps == 0 or before is not None:
                answer = search(tx, Wanted(kind="test.urgent"), before=before, limit=1, window=3)
                got += [job.id for job in answer.jobs]
                before, steps = answer.next_before, steps + 1
        assert set(got) == set(rare) == jobs_of(engine, UrgentNote)
        assert steps >= 3

    def test_an_id_finds_the_job_and_what_it_began(
        self, admin: Operator, engine: Engine, tenant: Customer
    ) -> None:
        parent, child = add(engine, tenant.id, Note()), add(engine, tenant.id, LazyNote())
        with engine.begin() as tx:
            tx.execute(
                text("UPDATE jobs SET parent_id = :parent WHERE id = :child"),
                {"parent": parent, "child": child},
            )
        page = admin.look("/console/jobs", q=str(parent))
        assert f"/console/jobs/{parent}" in page
        assert f"/console/jobs/{child}" in page
        assert "test.note" in admin.look(f"/console/jobs/{child}")
        assert f"/console/jobs/{child}" in admin.look(f"/console/jobs/{parent}")

    def test_what_makes_no_sense_is_said_on_the_page(self, admin: Operator) -> None:
        assert "There is no tenant" in admin.look("/console/jobs", tenant="nobody")
        assert "is no time" in admin.look("/console/jobs", since="yesterday")
        for path in ("import-log", "webhooks", "mail-log", "schedules", "dispatch"):
            assert "There is no tenant" in admin.look(f"/console/{path}", tenant="nobody"), path
        assert admin.client.get("/console/jobs?q=a%00b").status_code == 422

    def test_an_ids_time_is_in_its_front(self) -> None:
        at = datetime(2026, 5, 1, tzinfo=UTC)
        assert first_id_at(at).int >> 80 == int(at.timestamp() * 1000)
        assert first_id_at(datetime.min.replace(tzinfo=UTC)).int == 0


class TestActions:
    def test_queues_kinds_and_tenants_are_paused_and_resumed(
        self, admin: Operator, engine: Engine, tenant: Customer
    ) -> None:
        things = (("queue", "low"), ("kind", "test.note"), ("tenant", str(tenant.id)))
        for scope, name in things:
            page = admin.done("/console/dispatch/pause", scope=scope, name=name)
            assert f"Done: {scope}.pause" in page
        job_id = add(engine, tenant.id, Note())
        said = admin.look(f"/console/jobs/{job_id}")
        assert re.findall(r"It isn't sent: its (\w+)", said) == ["kind", "tenant"]
        with engine.connect() as tx:
            assert len(load_rules(tx).by_name) == 3
            assert load_rules(tx).paused(Scope.TENANT) == [str(tenant.id)]
        for scope, name in things:
            admin.done("/console/dispatch/resume", scope=scope, name=name)
        with engine.connect() as tx:
            assert load_rules(tx).by_name == {}
        assert "It isn't sent" not in admin.look(f"/console/jobs/{job_id}")
        assert admin.act("/console/dispatch/pause", scope="queue", name="none").status_code == 404
        assert admin.act("/console/dispatch/pause", scope="x", name="low").status_code == 422
        assert len(audited(engine)) == 6

    def test_a_schedule_is_run_paused_and_changed(
        self, admin: Operator, web: Web, engine: Engine, filled: Filled
    ) -> None:
        here = f"/console/schedules/{filled.schedule}"
        with engine.begin() as tx:
            tx.execute(text("UPDATE schedules SET payload = '{}'"))
        assert "job_id 01" in admin.done(f"{here}/run")
        assert "paused" in admin.done(f"{here}/pause")
        assert "Next runs" in admin.done(f"{here}/resume")
        page = admin.done(
            f"{here}/change", cron="30 4 * * *", timezone="Europe/Berlin", catch_up="none"
        )
        assert "0 3 * * * → 30 4 * * *" in page
        assert "Europe/Berlin" in page
        wrong = admin.act(f"{here}/change", cron="nonsense", catch_up="none")
        assert wrong.status_code == 422
        with signed_in(web, engine, Role.OPERATOR) as operator:
            fields = {"cron": "1 1 * * *", "catch_up": "none"}
            assert operator.act(f"{here}/change", **fields).status_code == 403
            operator.done(f"{here}/pause")
        assert [action for action, *_ in audited(engine)] == [
            *("schedule.run", "schedule.pause", "schedule.resume", "schedule.change"),
            "schedule.pause",
        ]

    def test_a_webhook_is_sent_again(self, admin: Operator, engine: Engine, filled: Filled) -> None:
        page = admin.done(f"/console/webhooks/{filled.delivery}/redeliver")
        assert "state-pending" in page
        assert [action for action, *_ in audited(engine)] == ["webhook.redeliver"]
