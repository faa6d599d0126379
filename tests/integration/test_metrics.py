"""What Prometheus reads from web and dispatcher."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import Engine, text

from app.housekeeping.depths import Depths
from app.ledger.enqueue import enqueue
from app.ledger.incidents import ignore, resolve
from app.metrics.declared import Process
from app.metrics.registry import registry
from app.settings import Settings
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.deaths import dead
from tests.support.dispatching import dispatching
from tests.support.jobs import LazyNote, Note, UrgentNote, add, add_queued, backdate
from tests.support.metrics import Samples, measure, scrape
from tests.support.queues import Queues
from tests.support.servers import Servers, wait_for
from tests.support.web import Web, web_server


class TestWeb:
    def test_requests_are_counted_by_route_and_never_by_what_was_asked(
        self, web: Web, api: httpx.Client
    ) -> None:
        before = scrape(web.port)
        api.get("/v1/jobs")
        api.get("/v1/jobs/0190a000-0000-7000-8000-000000000000")
        api.get("/no/such/page")
        api.request("PROPFIND", "/v1/jobs")
        after = scrape(web.port)

        def rise(**labels: str) -> float:
            name = "millrace_http_requests_total"
            return after.total(name, **labels) - before.total(name, **labels)

        assert rise(method="GET", route="/v1/jobs", status="200") == 1
        assert rise(route="/v1/jobs/{job_id}", status="404") == 1
        assert rise(route="unmatched", status="404") == 1
        assert rise(method="other", status="405") == 1
        assert "0190a000" not in after.text
        assert "_created" not in after.text
        name = "millrace_http_request_duration_seconds_count"
        assert after.total(name, route="/v1/jobs") - before.total(name, route="/v1/jobs") >= 1
        assert after.value("millrace_http_requests_open") == 1  # the scrape itself
        assert after.value("process_resident_memory_bytes") > 1_000_000

    def test_with_a_token_only_who_has_it_may_look(self, environment: dict[str, str]) -> None:
        settings = Settings.of({**environment, "MILLRACE_METRICS_TOKEN": "s3cret-für-alle"})
        with web_server(settings) as web:
            for wrong in (None, "s3cret"):
                with pytest.raises(httpx.HTTPStatusError, match="401"):
                    scrape(web.port, token=wrong)
            with web.client(None) as client:
                right = "Bearer s3cret-für-alle".encode()
                assert client.get("/metrics", headers={b"Authorization": right}).is_success


class TestDepths:
    @pytest.fixture
    def depths(self, settings: Settings, engine: Engine, queues: Queues) -> Iterator[Depths]:
        made = Depths(settings, engine)
        yield made
        made.close()

    def test_waiting_in_flight_and_age_by_queue(
        self, depths: Depths, engine: Engine, tenant: Customer, storage: Storage
    ) -> None:
        old, *_ = [add(engine, tenant.id, Note()) for _ in range(3)]
        backdate(engine, old, seconds=120)
        with engine.begin() as tx:
            later = datetime.now(UTC) + timedelta(hours=1)
            enqueue(tx, tenant.id, UrgentNote(), run_at=later)
        add_queued(engine, tenant.id, LazyNote())
        measure(engine)
        found = read(depths)
        assert found.value("millrace_queue_due_jobs", queue="default") == 3
        assert found.value("millrace_queue_later_jobs", queue="high") == 1
        assert found.value("millrace_queue_due_jobs", queue="high") == 0
        flying = "millrace_queue_in_flight_jobs"
        assert found.value(flying, queue="low", state="queued") == 1
        assert found.value(flying, queue="low", state="running") == 0
        age = "millrace_queue_oldest_age_seconds"
        assert 119 < found.value(age, queue="default") < 180
        assert found.value(age, queue="high") == 0
        assert found.value("millrace_queue_ready_messages", queue="dead") == 0
        for source in ("ledger", "broker", "store"):
            assert found.value("millrace_queue_reading_timestamp_seconds", source=source) > 1e9

    def test_it_is_read_once_in_a_while_however_often_it_is_asked_for(
        self, depths: Depths, engine: Engine, tenant: Customer
    ) -> None:
        measure(engine)
        read(depths)
        add(engine, tenant.id, Note())
        measure(engine)
        assert read(depths).value("millrace_queue_due_jobs", queue="default") == 0

    def test_dead_letters_that_nobody_has_dealt_with_and_the_database(
        self, settings: Settings, engine: Engine, tenant: Customer
    ) -> None:
        depths = Depths(settings, engine, {Note.spec.kind: Note})
        for job in (Note(), Note(), LazyNote()):
            dead(engine, tenant.id, job)
        for number in range(2):  # of these, one cause is known and one is mended
            dead(engine, tenant.id, UrgentNote(), frame=f"app.place:{number}")
        with engine.begin() as tx:
            of_urgent = text("SELECT id FROM incidents WHERE kind = :kind ORDER BY frame")
            known, mended = tx.execute(of_urgent, {"kind": UrgentNote.spec.kind}).scalars()
            ignore(tx, known, note="known", days=1)
            resolve(tx, mended, note="mended")
        with engine.connect() as other:
            other.execute(text("SELECT 1"))  # in a transaction, which stays open
            found = read(depths)
        letters = "millrace_dead_letters_open"
        assert found.value(letters, kind=Note.spec.kind) == 2
        assert found.value(letters, kind="other") == 1  # no label is what a message says
        assert found.total(letters) == 3
        most = found.value("millrace_postgres_connections_max")
        assert 1 < found.value("millrace_postgres_connections") < most
        assert 0 < found.value("millrace_postgres_oldest_transaction_seconds") < 60
        depths.close()

    def test_without_the_ledger_its_figures_are_missing_and_the_others_are_not(
        self, depths: Depths, servers: Servers, database: str
    ) -> None:
        with servers.no_new_connections(database):
            found = read(depths)
        assert not found.has("millrace_queue_due_jobs", queue="default")
        assert not found.has("millrace_postgres_connections")
        assert found.has("millrace_queue_ready_messages", queue="default")
        for source in ("ledger", "store"):  # nobody has made the bucket
            assert not found.has("millrace_queue_reading_timestamp_seconds", source=source)


def test_what_a_dispatcher_does(
    settings: Settings, engine: Engine, tenant: Customer, queues: Queues
) -> None:
    before = Samples(generate_latest(registry(Process.DISPATCHER)).decode())
    name = "millrace_dispatched_jobs_total"

    def now() -> Samples:
        return Samples(generate_latest(registry(Process.DISPATCHER)).decode())

    with dispatching(settings, engine):
        for _ in range(3):
            add(engine, tenant.id, Note())
        wait_for(lambda: now().total(name) - before.total(name) == 3, what="3 jobs dispatched")
        found = now()
        assert found.value("millrace_dispatcher_connected") == 1
        wait_for(lambda: now().has("millrace_queue_due_jobs", queue="default"), what="depths")
        chores = {"collector", "timekeeper", "scheduler"}
        success = "millrace_chore_last_success_timestamp_seconds"
        wait_for(lambda: all(now().has(success, chore=chore) for chore in chores), what="chores")
        # The janitor's bucket is not there.
        failures = "millrace_chore_failures_total"
        wait_for(lambda: now().total(failures, chore="janitor") > 0, what="a chore's failure")
    jobs = "millrace_dispatch_batch_jobs_sum"
    assert found.value(jobs) - before.total(jobs) == 3
    assert found.value("millrace_dispatch_confirm_duration_seconds_sum") > 0
    after = now()
    assert after.value("millrace_dispatcher_connected") == 0
    assert not after.has("millrace_queue_due_jobs", queue="default")


def read(depths: Depths) -> Samples:
    made = CollectorRegistry()
    made.register(depths)
    return Samples(generate_latest(made).decode())
