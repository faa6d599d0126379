"""The queues as tenants and operators see them; and new work refused when too much is waiting."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import Engine

from app.broker.topology import Queue
from app.housekeeping.gauge import Gauge
from app.keys import create_operator_key
from app.ledger.backlog import measure_backlog
from app.ledger.batches import Batch, enqueue_batch
from app.ledger.enqueue import NewJob, enqueue_many
from app.ledger.outbox import take_due
from app.ledger.replay import retry_job
from app.ledger.rules import Scope, load_rules, pause
from app.ledger.state import Event
from app.settings import Settings
from app.storage import Storage
from tests.support import flows
from tests.support.commands import Run
from tests.support.customers import Customer
from tests.support.deaths import TEST_CATALOG
from tests.support.flows import after, members, run_all, tidy
from tests.support.jobs import LazyNote, Note, add, add_queued
from tests.support.problems import assert_problem
from tests.support.web import Web, web_server

HELLO = {"kind": "test.greeting", "payload": {"name": "Ada"}}


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    small = {"TENANT_MAX": "3", "MAX": "5", "MAX_LAG_SECONDS": "600"}
    return {**environment, **{f"MILLRACE_BACKLOG_{name}": value for name, value in small.items()}}


@pytest.fixture
def web(settings: Settings, storage: Storage) -> Iterator[Web]:
    with web_server(settings, catalog=TEST_CATALOG) as served:
        yield served


@pytest.fixture
def operator(web: Web, engine: Engine) -> Iterator[httpx.Client]:
    with engine.begin() as tx:
        _, key = create_operator_key(tx, name="test")
    with web.client(key) as client:
        yield client


def measure(engine: Engine) -> None:
    with engine.begin() as tx:
        assert measure_backlog(tx, [queue.value for queue in Queue], seconds=0)


def queue(client: httpx.Client, name: str) -> dict[str, object]:
    answer = client.get("/v1/queues")
    assert answer.status_code == 200
    items: list[dict[str, object]] = answer.json()["items"]
    assert [item["name"] for item in items] == ["high", "default", "low"]
    return next(item for item in items if item["name"] == name)


class TestFigures:
    def test_tenants_see_their_own_and_operators_everybody_s(
        self,
        api: httpx.Client,
        operator: httpx.Client,
        engine: Engine,
        tenant: Customer,
        stranger: Customer,
    ) -> None:
        assert queue(api, "default")["measured_at"] is None
        add_queued(engine, tenant.id, Note())
        add(engine, stranger.id, LazyNote())
        past, soon = (datetime.now(UTC) + timedelta(minutes=m) for m in (-2, 60))
        with engine.begin() as tx:
            jobs = [NewJob(job=Note(), run_at=past), NewJob(job=Note(), run_at=soon)]
            enqueue_many(tx, tenant.id, jobs)
        measure(engine)
        own = queue(api, "default")
        assert (own["depth"], own["later"], own["in_flight"], own["dead"]) == (1, 1, 1, 0)
        assert 119 < float(str(own["lag_seconds"])) < 300
        assert own["arrived_per_minute"] == 3
        assert queue(api, "low")["depth"] == 0
        assert queue(operator, "low")["depth"] == 1
        assert queue(operator, "default")["depth"] == 1

    def test_what_came_in_is_what_goes_out(
        self, api: httpx.Client, engine: Engine, tenant: Customer
    ) -> None:
        def rates() -> tuple[object, object]:
            found = queue(api, "default")
            return found["arrived_per_minute"], found["ended_per_minute"]

        with engine.begin() as tx:
            batch = enqueue_batch(tx, tenant.id, Batch(jobs=[Note() for _ in range(5)], window=2))
        assert rates() == (2, 0)  # the others have not been let in yet
        run_all(engine)
        assert rates() == (5, 5)
        first = add(engine, tenant.id, Note())
        after(engine, tenant.id, first)
        assert rates() == (6, 5)
        flows.run(engine, first, Event.DIE)  # and so does the other, which has never been in
        tidy(engine)
        assert rates() == (6, 6)
        with engine.begin() as tx:
            retry_job(tx, {Note.spec.kind: Note}, {}, tenant.id, first, reason="again")
        assert rates() == (7, 6)
        run_all(engine)
        assert rates() == (8, 8)
        assert len(members(engine, batch)) == 5

    def test_what_is_gone_is_gone_from_the_figures(
        self, api: httpx.Client, engine: Engine, tenant: Customer
    ) -> None:
        add(engine, tenant.id, Note())
        measure(engine)
        assert queue(api, "default")["depth"] == 1
        add_queued(engine, tenant.id, LazyNote())
        with engine.begin() as tx:
            for due in take_due(tx, batch=5):
                tx.exec_driver_sql("DELETE FROM outbox WHERE job_id = %s", (due.id,))
        measure(engine)
        assert queue(api, "default")["depth"] == 0

    def test_what_is_paused_is_not_late(
        self, operator: httpx.Client, engine: Engine, tenant: Customer
    ) -> None:
        past = datetime.now(UTC) - timedelta(hours=1)
        with engine.begin() as tx:
            enqueue_many(tx, tenant.id, [NewJob(job=Note(), run_at=past)])
            pause(tx, Scope.TENANT, str(tenant.id), reason="for a test")
        with engine.begin() as tx:
            assert take_due(tx, batch=5) == []
        measure(engine)
        found = queue(operator, "default")
        assert (found["depth"], found["lag_seconds"], found["oldest_at"]) == (1, 0, None)

    def test_two_dispatchers_measure_in_turn(self, engine: Engine) -> None:
        with engine.begin() as one, engine.begin() as two:
            assert measure_backlog(one, ["default"], seconds=0)
            assert not measure_backlog(two, ["default"], seconds=0)
        Gauge(engine).step()
        with engine.begin() as tx:
            assert not measure_backlog(tx, ["default"], seconds=60)


class TestPause:
    def test_by_an_operator(self, operator: httpx.Client, engine: Engine, tenant: Customer) -> None:
        add(engine, tenant.id, Note())
        answer = operator.post("/v1/queues/default/pause", json={"reason": "migration"})
        assert answer.status_code == 200
        assert answer.json()["paused_at"] is not None
        with engine.begin() as tx:
            assert take_due(tx, batch=5) == []
            assert load_rules(tx).by_name[Scope.QUEUE, "default"].paused_reason == "migration"
        assert operator.post("/v1/queues/default/resume").json()["paused_at"] is None
        with engine.begin() as tx:
            assert len(take_due(tx, batch=5)) == 1

    def test_by_nobody_else(self, api: httpx.Client, web: Web, operator: httpx.Client) -> None:
        for action in ("pause", "resume"):
            assert_problem(api.post(f"/v1/queues/low/{action}"), 403, "forbidden")
            with web.client(None) as nobody:
                assert_problem(nobody.post(f"/v1/queues/low/{action}"), 401, "unauthenticated")
            with web.client("mr_wrong") as wrong:
                assert_problem(wrong.post(f"/v1/queues/low/{action}"), 401, "unauthenticated")
        assert_problem(operator.post("/v1/queues/nope/pause"), 404, "not_found")

    def test_an_operator_s_key_opens_no_tenant_s_data(self, operator: httpx.Client) -> None:
        assert_problem(operator.get("/v1/jobs"), 403, "forbidden")
        assert_problem(operator.post("/v1/jobs", json=HELLO), 403, "forbidden")


class TestBackpressure:
    def fill(self, engine: Engine, tenant: Customer, jobs: int, **more: object) -> None:
        with engine.begin() as tx:
            enqueue_many(tx, tenant.id, [NewJob(job=Note(), **more)] * jobs)  # type: ignore[arg-type]
        measure(engine)

    def test_a_tenant_with_too_much_waiting(
        self, api: httpx.Client, web: Web, engine: Engine, tenant: Customer, stranger: Customer
    ) -> None:
        self.fill(engine, tenant, 3)
        for answer in (
            api.post("/v1/jobs", json=HELLO),
            api.post("/v1/imports", params={"filename": "a.csv"}, content="email\na@b.example\n"),
            api.post("/v1/exports", json={"target": "contacts", "format": "csv"}),
            api.post("/v1/files", files={"file": ("a.txt", b"Grist.", "text/plain")}),
        ):
            assert_problem(answer, 429, "backlog_full")
            assert int(answer.headers["retry-after"]) > 0
        assert api.get("/v1/jobs").status_code == 200
        with web.client(stranger.key) as other:
            assert other.post("/v1/jobs", json=HELLO).status_code == 202
        with engine.begin() as tx:  # what the product does by itself is not refused
            enqueue_many(tx, tenant.id, [NewJob(job=Note())])

    def test_all_together(
        self, api: httpx.Client, engine: Engine, tenant: Customer, stranger: Customer
    ) -> None:
        self.fill(engine, tenant, 1)
        assert api.post("/v1/jobs", json=HELLO).status_code == 202
        self.fill(engine, stranger, 3)
        answer = api.post("/v1/jobs", json=HELLO)
        assert_problem(answer, 503, "overloaded")
        assert int(answer.headers["retry-after"]) == 30

    def test_what_waits_for_too_long(
        self, api: httpx.Client, engine: Engine, stranger: Customer
    ) -> None:
        self.fill(engine, stranger, 1, run_at=datetime.now(UTC) - timedelta(hours=1))
        assert_problem(api.post("/v1/jobs", json=HELLO), 503, "overloaded")
        with engine.begin() as tx:
            pause(tx, Scope.QUEUE, "default", reason="for a test")
        measure(engine)
        assert api.post("/v1/jobs", json=HELLO).status_code == 202


class TestCommands:
    def test_pause_limit_and_resume(self, run: Run, engine: Engine, tenant: Customer) -> None:
        run("queues", "pause", "low", "--reason", "for a test")
        run("kinds", "pause", "report.daily")
        run("kinds", "limit", "report.daily", "--at-once", 2)
        run("tenants", "pause", tenant.id)
        run("tenants", "share", tenant.id, "--at-once", 5, "--weight", 3)
        run("tenants", "plan-share", "trial", "--at-once", 1)
        rules = run("queues", "rules", "--json").json
        found = {(r["scope"], r["max_running"], r["weight"], bool(r["paused_at"])) for r in rules}
        assert found == {
            ("queue", None, None, True),
            ("kind", 2, None, True),
            ("tenant", 5, 3, True),
            ("plan", 1, None, False),
        }
        assert "for a test" in run("queues", "rules").out
        run("queues", "resume", "low")
        run("kinds", "resume", "report.daily")
        run("kinds", "limit", "report.daily")
        run("tenants", "resume", tenant.id)
        run("tenants", "share", tenant.id)
        run("tenants", "plan-share", "trial")
        assert run("queues", "rules", "--json").json == []

    def test_an_operator_s_key(self, run: Run, web: Web) -> None:
        key = run("keys", "create", "--role", "operator", "--json").json["key"]
        with web.client(key) as client:
            assert client.post("/v1/queues/low/pause").status_code == 200
        assert run("keys", "create", "--role", "tenant").status == 1
