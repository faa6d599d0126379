"""From the outbox to the queues: promptly, once, and through every outage."""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text

from app import dispatcher
from app.broker.publisher import Publisher
from app.dispatcher import dispatch_batch
from app.ids import new_id
from app.ledger.contract import catalog
from app.ledger.enqueue import NewJob, enqueue, enqueue_many
from app.ledger.outbox import DueJob, mark_queued, take_due
from app.ledger.rules import Scope, set_limits
from app.settings import Settings
from tests.support.customers import Customer
from tests.support.dispatching import dispatching
from tests.support.jobs import (
    LazyNote,
    Note,
    SmallNote,
    UrgentNote,
    add,
    assert_lawful,
    count,
    events,
    job_facts,
)
from tests.support.queues import Queues, arguments_of, headers_of
from tests.support.servers import Servers, wait_for

LONG_POLL = {"MILLRACE_DISPATCH_POLL_SECONDS": "60"}
PROMPT_SECONDS = 5.0
"""Milliseconds on an idle machine."""


def states(engine: Engine, state: str) -> int:
    with engine.connect() as tx:
        query = text("SELECT count(*) FROM jobs WHERE state = :state")
        number: int = tx.execute(query, {"state": state}).scalar_one()
        return number


def publish_lag(engine: Engine, job_id: UUID) -> float:
    """Seconds from the moment a job was due to its being marked as published."""
    query = text("""
        SELECT extract(epoch FROM j.queued_at - j.run_at)::float FROM jobs j WHERE j.id = :id
    """)
    with engine.connect() as tx:
        lag: float = tx.execute(query, {"id": job_id}).scalar_one()
        return lag


def test_each_job_goes_to_its_own_queue_with_its_facts(
    settings: Settings, engine: Engine, tenant: Customer, queues: Queues
) -> None:
    ids = {
        queue: add(engine, tenant.id, job)
        for queue, job in {"high": UrgentNote(), "default": Note(), "low": LazyNote()}.items()
    }
    with dispatching(settings, engine):
        wait_for(lambda: states(engine, "queued") == 3, what="publishing")
    for queue, job_id in ids.items():
        (message,) = queues.take_all(queue)
        assert arguments_of(message) == {"job_id": str(job_id), "version": 1, "attempt": 1}
        assert headers_of(message)["task"] == job_facts_kind(engine, job_id)
    assert count(engine, "outbox") == 0
    assert assert_lawful(engine) == 3


def job_facts_kind(engine: Engine, job_id: UUID) -> str:
    with engine.connect() as tx:
        kind: str = tx.execute(
            text("SELECT kind FROM jobs WHERE id = :id"), {"id": job_id}
        ).scalar_one()
        return kind


def test_small_jobs_travel_in_one_message(
    settings: Settings, engine: Engine, tenant: Customer, queues: Queues
) -> None:
    ids = [str(add(engine, tenant.id, SmallNote())) for _ in range(4)]
    publisher = Publisher(settings)
    with engine.begin() as tx:
        assert dispatch_batch(tx, publisher, batch=10, catalog=catalog((SmallNote,))) == 4
    publisher.close()
    first, second = (arguments_of(message) for message in queues.take_all("default"))
    assert [[first["job_id"], first["attempt"]], *first["companions"]] == [
        [one, 1] for one in ids[:3]
    ]
    assert second == {"job_id": ids[3], "version": 1, "attempt": 1}
    assert {job_facts(engine, UUID(job_id)).state for job_id in ids} == {"queued"}


class TestPromptness:
    """With a poll of a minute, only a signal or the job's own time can wake the dispatcher."""

    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return {**environment, **LONG_POLL}

    def test_a_new_job_wakes_the_dispatcher(
        self, settings: Settings, engine: Engine, tenant: Customer, queues: Queues
    ) -> None:
        with dispatching(settings, engine):
            for _ in range(3):
                job_id = add(engine, tenant.id, Note())
                wait_for(lambda one=job_id: job_facts(engine, one).state == "queued", seconds=10)  # type: ignore[misc]
                assert publish_lag(engine, job_id) < PROMPT_SECONDS

    def test_a_job_for_later_goes_out_at_its_time(
        self, settings: Settings, engine: Engine, tenant: Customer, queues: Queues
    ) -> None:
        with dispatching(settings, engine):
            later = datetime.now(tz=UTC) + timedelta(seconds=1.5)
            with engine.begin() as tx:
                job_id = enqueue(tx, tenant.id, Note(), run_at=later).id
            now = add(engine, tenant.id, Note())
            wait_for(lambda: job_facts(engine, now).state == "queued", seconds=10)
            assert job_facts(engine, job_id).state == "scheduled"
            wait_for(lambda: job_facts(engine, job_id).state == "queued", seconds=15)
        assert 0 <= publish_lag(engine, job_id) < PROMPT_SECONDS


@pytest.mark.parametrize("pause", [0.0, 2 * dispatcher.CURBED_PAUSE_SECONDS])
def test_who_is_at_a_limit_is_looked_at_again_however_busy_another_queue_is(
    environment: dict[str, str],
    engine: Engine,
    tenant: Customer,
    queues: Queues,
    monkeypatch: pytest.MonkeyPatch,
    pause: float,
) -> None:
    """Nobody is told of the end that makes room for the second; and what a round sends may be gone when it ends."""
    urgent, others = 0, 0

    def mark(tx: Connection, job_ids: Sequence[UUID]) -> None:
        time.sleep(pause if others >= 20 else 0)
        mark_queued(tx, job_ids)

    monkeypatch.setattr(dispatcher, "mark_queued", mark)
    small = {"MILLRACE_DISPATCH_WINDOW_MIN": "1", "MILLRACE_DISPATCH_WINDOW_MAX": "1"}
    with engine.begin() as tx:
        set_limits(tx, Scope.TENANT, str(tenant.id), max_running=1, weight=None)
        first, _ = enqueue_many(tx, tenant.id, [NewJob(job=UrgentNote()) for _ in range(2)])
        enqueue_many(tx, new_id(), [NewJob(job=Note()) for _ in range(80)])
    with dispatching(Settings.of({**environment, **LONG_POLL, **small}), engine):
        while urgent < 2:
            urgent += queues.take("high") is not None
            if queues.take("default") is not None:
                others += 1
                if others == 20:
                    with engine.begin() as tx:
                        tx.execute(
                            text("DELETE FROM in_flight WHERE job_id = :id"), {"id": first.id}
                        )
            assert others < 80, "it waited for all of the others"


def test_an_urgent_job_waits_for_no_more_rounds_of_a_backlog_alone(
    environment: dict[str, str], engine: Engine, tenant: Customer, queues: Queues
) -> None:
    """A queue that was full is filled again, round by round, without word of anything."""
    small = {"MILLRACE_DISPATCH_WINDOW_MIN": "1", "MILLRACE_DISPATCH_WINDOW_MAX": "1"}
    with engine.begin() as tx:
        enqueue_many(tx, tenant.id, [NewJob(job=LazyNote()) for _ in range(400)])
    with dispatching(Settings.of({**environment, **LONG_POLL, **small}), engine):
        wait_for(lambda: queues.depth("low") == 1, what="a full queue")
        queues.channel.basic_consume("low", no_ack=True, callback=lambda _: None)
        wait_for(lambda: states(engine, "queued") > 5, what="its being filled again and again")
        urgent = add(engine, tenant.id, UrgentNote())
        wait_for(lambda: job_facts(engine, urgent).state == "queued", what="the urgent one")
        assert states(engine, "scheduled") > 0, "it waited for all of the others"


def test_a_round_that_an_urgent_job_would_wait_for_is_begun_anew_with_it(
    environment: dict[str, str],
    engine: Engine,
    tenant: Customer,
    queues: Queues,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It comes while a queue that was full is filled again, and before anything has been sent to that."""
    small = {"MILLRACE_DISPATCH_WINDOW_MIN": "1", "MILLRACE_DISPATCH_WINDOW_MAX": "1"}
    told, urgent = dispatcher._told, list[UUID]()

    def take_and_post(tx: Connection, *, rooms: dict[str, int], **more: Any) -> list[DueJob]:
        due = take_due(tx, rooms=rooms, **more)
        if due and [*rooms] == ["low"] and not urgent:
            urgent.append(add(engine, tenant.id, UrgentNote()))
        return due

    def wait_for_word(listener: psycopg.Connection, seconds: float) -> bool:
        return told(listener, 5 if len(urgent) == 1 and not seconds else seconds)

    with engine.begin() as tx:
        _, second = enqueue_many(tx, tenant.id, [NewJob(job=LazyNote()) for _ in range(2)])
    with dispatching(Settings.of({**environment, **LONG_POLL, **small}), engine):
        wait_for(lambda: states(engine, "queued") == 1, what="a full queue")
        monkeypatch.setattr(dispatcher, "take_due", take_and_post)
        monkeypatch.setattr(dispatcher, "_told", wait_for_word)
        queues.channel.queue_purge("low")
        wait_for(lambda: urgent and job_facts(engine, urgent[0]).state == "queued", what="it")
        urgent.append(urgent[0])
        wait_for(lambda: states(engine, "queued") == 3, what="what was left")
        assert queues.job_ids("low") == [str(second.id)]
    with engine.connect() as tx:
        commits = text("""
            SELECT count(DISTINCT xmin::text) FROM job_history
            WHERE event = 'dispatch' AND job_id = ANY(:ids)
        """)
        assert tx.execute(commits, {"ids": [second.id, urgent[0]]}).scalar_one() == 1
    assert assert_lawful(engine) == 3


def test_two_dispatchers_publish_every_job_exactly_once(
    environment: dict[str, str], engine: Engine, tenant: Customer, queues: Queues
) -> None:
    settings = Settings.of({**environment, "MILLRACE_DISPATCH_BATCH_SIZE": "40"})
    with engine.begin() as tx:
        made = enqueue_many(tx, tenant.id, [NewJob(job=Note()) for _ in range(600)])
    with dispatching(settings, engine, dispatchers=2):
        wait_for(lambda: states(engine, "queued") == 600, seconds=60, what="publishing")
    published = queues.job_ids()
    assert len(published) == 600
    assert set(published) == {str(one.id) for one in made}
    assert count(engine, "outbox") == 0


class TestFullQueue:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return {**environment, "MILLRACE_DISPATCH_BATCH_SIZE": "30"}

    @pytest.fixture
    def widen(self, servers: Servers, queues: Queues) -> Iterator[Callable[[], object]]:
        """The queue `low` holds about 20 messages until this is called."""
        policy = ["--vhost", "millrace", "--apply-to", "queues", "--priority", "9"]
        definition = '{"max-length": 20, "delivery-limit": 20}'
        servers.rabbitmqctl("set_policy", *policy, "short", "^low$", definition)
        act = cache(lambda: servers.rabbitmqctl("clear_policy", "--vhost", "millrace", "short"))
        yield act
        queues.purge()
        act()

    def test_what_does_not_fit_waits_in_the_outbox_and_nothing_is_lost(
        self,
        settings: Settings,
        engine: Engine,
        tenant: Customer,
        queues: Queues,
        widen: Callable[[], object],
    ) -> None:
        with engine.begin() as tx:
            jobs = [NewJob(job=LazyNote()) for _ in range(150)]
            made = {str(one.id) for one in enqueue_many(tx, tenant.id, jobs)}
        with dispatching(settings, engine):
            refused = text("SELECT count(*) FROM outbox WHERE run_at > clock_timestamp()")

            def postponed() -> bool:
                with engine.connect() as tx:
                    return bool(tx.execute(refused).scalar_one())

            wait_for(postponed, what="a refusal")
            urgent = add(engine, tenant.id, UrgentNote())
            wait_for(lambda: job_facts(engine, urgent).state == "queued", what="the other queue")
            assert count(engine, "outbox") > 0
            assert count(engine, "outbox") == states(engine, "scheduled")

            widen()
            wait_for(lambda: count(engine, "outbox") == 0, seconds=30, what="the rest")
        assert set(queues.job_ids("low")) == made
        assert assert_lawful(engine) == 151


def test_a_message_that_no_queue_takes_stays_in_the_outbox(
    settings: Settings, engine: Engine, tenant: Customer, queues: Queues
) -> None:
    with dispatching(settings, engine):
        queues.channel.queue_unbind("low", "millrace", "low")
        lost, fine = add(engine, tenant.id, LazyNote()), add(engine, tenant.id, Note())
        wait_for(lambda: job_facts(engine, fine).state == "queued", what="the other job")
        assert job_facts(engine, lost).state == "scheduled"
        assert events(engine, lost) == ["enqueue"]
        queues.channel.queue_bind("low", "millrace", "low")
        wait_for(lambda: job_facts(engine, lost).state == "queued", what="the bound job")
    assert queues.job_ids("low") == [str(lost)]


def test_a_connection_that_the_broker_closes_is_made_anew(
    settings: Settings, engine: Engine, tenant: Customer, queues: Queues, servers: Servers
) -> None:
    with dispatching(settings, engine):
        first = add(engine, tenant.id, Note())
        wait_for(lambda: job_facts(engine, first).state == "queued")
        servers.rabbitmqctl("close_all_connections", "--vhost", "millrace", "for a test")
        second = add(engine, tenant.id, Note())
        wait_for(lambda: job_facts(engine, second).state == "queued", what="the second job")
    queues.reopen()
    assert set(queues.job_ids()) == {str(first), str(second)}


def test_a_backend_that_postgres_ends_is_replaced(
    settings: Settings, engine: Engine, tenant: Customer, queues: Queues, servers: Servers
) -> None:
    with dispatching(settings, engine):
        assert (
            servers.databases.end_sessions(
                settings.database_url.get_secret_value().rsplit("/", 1)[1]
            )
            >= 2
        )
        engine.dispose()
        job_id = add(engine, tenant.id, Note())
        wait_for(lambda: job_facts(engine, job_id).state == "queued", what="publishing")
    assert queues.job_ids() == [str(job_id)]


def test_a_restart_of_the_broker_loses_nothing(
    settings: Settings, engine: Engine, tenant: Customer, queues: Queues, servers: Servers
) -> None:
    with dispatching(settings, engine):
        before = add(engine, tenant.id, Note())
        wait_for(lambda: job_facts(engine, before).state == "queued")
        servers.restart("rabbitmq")
        after = add(engine, tenant.id, Note())
        wait_for(lambda: job_facts(engine, after).state == "queued", what="the job after")
    queues.reopen()
    assert set(queues.job_ids()) == {str(before), str(after)}
