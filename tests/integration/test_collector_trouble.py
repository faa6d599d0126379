"""Whatever breaks, and whatever a message looks like: none is lost, and none stops the others."""

import json
from collections.abc import Sequence
from typing import Any

import amqp
import psycopg
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from app.broker.dead_letters import DeadLetterQueue, read
from app.errors import BrokerAway
from app.housekeeping import collector as collector_module
from app.ledger import store
from app.ledger.aftermath import Aftermath, Ending
from app.ledger.collect import Fate, collect
from app.ledger.contract import JobContract
from tests.support.customers import Customer
from tests.support.housekeeping import (
    RUBBISH,
    TEST_CATALOG,
    House,
    task,
)
from tests.support.jobs import (
    Note,
    add,
    add_queued,
    backdate,
    claim_now,
    job_facts,
    letters,
)
from tests.support.servers import Servers


class TestOutages:
    """Whatever breaks, no message is lost and the others go on."""

    def test_a_connection_that_the_broker_closes_is_made_anew(
        self, house: House, engine: Engine, servers: Servers
    ) -> None:
        house.collector.step()
        house.discard_as_foreign(RUBBISH)
        servers.rabbitmqctl("close_all_connections", "--vhost", "millrace", "for a test")
        with pytest.raises(BrokerAway):
            house.collector.step()
        house.collector.step()
        assert len(letters(engine)) == 1

    def test_without_the_database_the_messages_stay_where_they_are(
        self, house: House, engine: Engine, servers: Servers, database: str
    ) -> None:
        for _ in range(3):
            house.discard_as_foreign(RUBBISH)
        with servers.no_new_connections(database):
            for _ in range(2):
                with pytest.raises(OperationalError):
                    house.collector.step()
            assert house.queues.depth("dead") == 3
        house.collector.step()
        assert len(letters(engine)) == 3

    def test_a_database_that_goes_away_half_way_costs_no_message(
        self, house: House, engine: Engine, tenant: Customer
    ) -> None:
        gone = OperationalError("UPDATE", {}, psycopg.OperationalError("the server is gone"))
        failing = [gone]

        def ended(_tx: Connection, _job: JobContract, _ending: Ending) -> Sequence[JobContract]:
            if failing:
                raise failing.pop()
            return ()

        house.aftermaths = {
            "test.note": Aftermath(contract=Note, ended=ended, revived=lambda _tx, _job: ())
        }
        collector = house.make_collector()
        job_id = add(engine, tenant.id, Note())
        house.dispatch()
        house.refuse(house.get())
        house.discard_as_foreign(RUBBISH)
        with pytest.raises(OperationalError):
            collector.step()
        assert job_facts(engine, job_id).state == "queued"
        house.await_dead(2)
        collector.step()
        collector.close()
        assert len(letters(engine, job_id)) == len(letters(engine)) == 1

    def test_a_message_that_the_collector_trips_over_is_kept_raw_and_stops_nobody(
        self, house: House, engine: Engine
    ) -> None:
        class Trap(dict[str, type[JobContract]]):
            def __contains__(self, kind: object) -> bool:
                if kind == "test.trap":
                    raise KeyError("a fault in the collector")
                return super().__contains__(kind)

        for kind in ("other.app", "test.trap", "other.app"):
            house.discard_as_foreign(task("", kind=kind))
        collector = house.make_collector(Trap(TEST_CATALOG))
        collector.step()
        collector.close()
        assert [letter.code for letter in letters(engine)] == [
            "unknown_kind",
            "collector_fault",
            "unknown_kind",
        ]
        kept = letters(engine)[1]
        assert kept.error["type"] == "KeyError"
        assert "attempt" in kept.body
        house.await_dead(0)

    def test_a_message_that_the_client_cannot_even_read_stops_no_rescue(
        self,
        house: House,
        engine: Engine,
        tenant: Customer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A header with a date beyond Python's years, for one."""

        def take(_: DeadLetterQueue) -> None:
            raise ValueError("year 55840 is out of range")

        monkeypatch.setattr(DeadLetterQueue, "take", take)
        job_id = add_queued(engine, tenant.id, Note())
        backdate(engine, job_id, seconds=3600)
        for _ in range(2):
            with pytest.raises(ValueError, match="year"):
                house.collector.step()
            house.clock.forward(30)
        assert job_facts(engine, job_id).state == "scheduled"

    def test_a_job_that_somebody_holds_keeps_no_other_message_waiting(
        self,
        house: House,
        engine: Engine,
        tenant: Customer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Its handler has written to the job's row in a transaction that is still open."""

        def impatient(tx: Connection) -> None:
            tx.exec_driver_sql("SET LOCAL lock_timeout = '200ms'")

        monkeypatch.setattr(collector_module, "be_patient", impatient)
        job_id = add(engine, tenant.id, Note())
        house.dispatch()
        with engine.begin() as tx:
            job = claim_now(tx, job_id)
        assert job is not None
        house.exhaust()
        house.discard_as_foreign(RUBBISH)
        with engine.connect() as handler:
            store.progress(handler, job, done=1)
            for _ in range(2):
                assert house.collector.step() is False
                assert len(letters(engine)) == 1
                assert letters(engine, job_id) == []
        house.collector.step()
        assert len(letters(engine, job_id)) == 1
        house.await_dead(0)


ODD_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ODD_TEXT | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ODD_TEXT, inner, max_size=3),
    max_leaves=6,
)
DEATHS = ODD | st.lists(ODD | st.dictionaries(st.sampled_from(["queue", "reason"]), ODD))
HEADERS = st.dictionaries(ODD_TEXT, ODD) | st.fixed_dictionaries({"task": ODD, "x-death": DEATHS})
BODIES = (
    st.binary(max_size=50)
    | ODD_TEXT
    | st.builds(
        lambda job_id, attempt: json.dumps([[], {"job_id": job_id, "attempt": attempt}]),
        st.uuids().map(str) | ODD_TEXT | st.integers(),
        st.integers() | ODD_TEXT | st.booleans(),
    )
)


@examples(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(headers=HEADERS, body=BODIES)
@example(headers={"task": "a\x00"}, body="\x00")
@example(headers={"task": "\ud800"}, body="\ud800")
@example(headers={"x-death": [{"queue": "a\x00\ud800", "reason": "\x00"}]}, body=b"\xff")
@example(headers={"x-death": [{"queue": 5, "reason": {}}]}, body=b"[[], {}]")
@example(headers={"x-death": 5, "n": float("nan")}, body=b"5")
def test_nothing_in_a_message_can_trip_the_collector(
    engine: Engine, headers: dict[str, Any], body: str | bytes
) -> None:
    message = amqp.Message(body, application_headers=headers, message_id="\ud800")
    message.delivery_info = {"delivery_tag": 1, "redelivered": False}
    with engine.begin() as tx:
        assert collect(tx, TEST_CATALOG, {}, read(message)) is Fate.KEPT
