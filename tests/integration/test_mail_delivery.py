"""From a mail job to its outcome, its log and what it must not do again, with a real server's answers."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from app.jobs import PaymentFailedMail, TrialEndingMail
from app.settings import Settings
from tests.support.clock import days_ago, set_columns
from tests.support.customers import Customer
from tests.support.jobs import add_queued, count, events, job_facts, letters, requeue
from tests.support.mail_server import USER, MailServer, mail_server
from tests.support.problems import assert_problem
from tests.support.runtime import Worker
from tests.support.web import Web
from workers import handlers  # noqa: F401 - they are registered by being imported
from workers.runtime.executor import Disposition

BILL = PaymentFailedMail(invoice_id="in_7", amount_due_minor=1, currency="EUR")
CHILD = """
import sys
from uuid import UUID
import workers.handlers
from workers.runtime.attempt import Delivery
from workers.runtime.executor import execute
from workers.runtime.task import runtime
job = {"job_id": UUID(sys.argv[1]), "kind": "mail.payment_failed", "attempt": 0}
execute(runtime(), Delivery(**job, worker="child@here", redelivered=False))
"""


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server() as told:
        yield told


@pytest.fixture
def environment(environment: dict[str, str], server: MailServer) -> dict[str, str]:
    return {
        **environment,
        "MILLRACE_SMTP_PORT": str(server.port),
        "MILLRACE_PUBLIC_URL": "https://millrace.example",
    }


def deliver(worker: Worker, engine: Engine, tenant: Customer) -> UUID:
    job_id = add_queued(engine, tenant.id, BILL)
    worker.deliver(job_id)
    return job_id


def test_what_was_sent_is_in_the_log(
    worker: Worker,
    engine: Engine,
    tenant: Customer,
    stranger: Customer,
    api: httpx.Client,
    web: Web,
) -> None:
    jobs = [deliver(worker, engine, tenant) for _ in range(3)]
    first = api.get("/v1/mails", params={"limit": 2}).json()
    rest = api.get("/v1/mails", params={"cursor": first["next_cursor"]}).json()
    items = [*first["items"], *rest["items"]]
    assert [item["job_id"] for item in items] == [str(job) for job in reversed(jobs)]
    assert rest["next_cursor"] is None
    newest = items[0]
    assert (newest["status"], newest["template"], newest["recipient"]) == (
        *("sent", "payment_failed", tenant.email),
    )
    assert (newest["reply_code"], newest["answer"]) == (250, "250 2.0.0 Ok: queued as 3")
    assert newest["message_id"] == f"<{jobs[-1]}@millrace.example>"
    assert newest["sent_at"] is not None
    assert api.get("/v1/mails", params={"status": "refused"}).json()["items"] == []
    assert_problem(api.get("/v1/mails", params={"cursor": "x"}), 400, "invalid_cursor")
    with web.client(stranger.key) as other:
        assert other.get("/v1/mails").json()["items"] == []


def test_an_address_that_is_gone_is_not_written_to_again(
    worker: Worker,
    engine: Engine,
    tenant: Customer,
    stranger: Customer,
    server: MailServer,
    api: httpx.Client,
    web: Web,
) -> None:
    server.say("RCPT", "550 5.1.1 No such user")
    dead = deliver(worker, engine, tenant)
    server.answers.clear()
    error = job_facts(engine, dead).error
    assert job_facts(engine, dead).state == "dead"
    assert error is not None
    assert error["code"] == "mail_refused"
    assert "550 5.1.1 No such user" in error["message"]
    later = deliver(worker, engine, tenant)
    assert job_facts(engine, later).state == "cancelled"
    assert server.recipients == []
    (kept,) = api.get("/v1/mail-suppressions").json()["items"]
    assert (kept["address"], kept["topic"], kept["reason"]) == (tenant.email, None, "refused")
    statuses = [item["status"] for item in api.get("/v1/mails").json()["items"]]
    assert statuses == ["suppressed", "refused"]
    with web.client(stranger.key) as other:
        gone = other.delete(f"/v1/mail-suppressions/{kept['id']}")
        assert_problem(gone, 404, "not_found")
    assert api.delete(f"/v1/mail-suppressions/{kept['id']}").status_code == 204
    assert job_facts(engine, deliver(worker, engine, tenant)).state == "succeeded"
    assert server.recipients == [tenant.email]


def test_a_full_mailbox_is_tried_again_later_at_the_cost_of_an_attempt(
    worker: Worker, engine: Engine, tenant: Customer, server: MailServer
) -> None:
    server.say("RCPT", "452 4.2.2 Mailbox full")
    job_id = deliver(worker, engine, tenant)
    facts = job_facts(engine, job_id)
    assert (facts.state, facts.max_attempts) == ("scheduled", 12)
    assert facts.wait_seconds > 590
    server.answers.clear()
    requeue(engine, job_id)
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    assert job_facts(engine, job_id).state == "succeeded"
    assert count(engine, "mail_suppressions") == 0


class TestLoginRefused:
    @pytest.fixture
    def server(self) -> Iterator[MailServer]:
        with mail_server(login=True) as told:
            yield told

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        wrong = {"smtp_username": USER, "smtp_password": SecretStr("expired")}
        return settings.model_copy(update=wrong)

    def test_many_mails_wait_as_one_incident_and_none_dies(
        self, worker: Worker, engine: Engine, tenant: Customer, server: MailServer
    ) -> None:
        jobs = [deliver(worker, engine, tenant) for _ in range(5)]
        assert server.connections == 1, "nobody hammers at the door"
        for job_id in jobs:
            facts = job_facts(engine, job_id)
            assert (facts.state, facts.attempt, facts.max_attempts) == ("scheduled", 1, 13)
            assert facts.error is not None
            assert facts.error["code"] == "mail_login_refused"
            assert "535 5.7.8" in facts.error["message"]
            assert facts.wait_seconds > 250
            assert events(engine, job_id)[-1] == "snooze"
            assert letters(engine, job_id) == []
        with engine.connect() as tx:
            query = text("SELECT kind, code, state, count FROM incidents")
            assert tx.execute(query).all() == [("mail", "mail_login_refused", "open", 1)]
        assert count(engine, "mails") == 5

    def test_after_four_days_it_is_given_up(
        self, worker: Worker, engine: Engine, tenant: Customer
    ) -> None:
        job_id = add_queued(engine, tenant.id, BILL)
        set_columns(engine, "jobs", job_id, created_at=days_ago(engine, 4.1))
        worker.deliver(job_id)
        facts = job_facts(engine, job_id)
        assert facts.state == "dead"
        assert facts.error is not None
        assert facts.error["code"] == "mail_given_up"


def test_an_address_that_is_none_is_dead(worker: Worker, engine: Engine, tenant: Customer) -> None:
    bill = BILL.model_copy(update={"recipient": "nobody"})
    job_id = add_queued(engine, tenant.id, bill)
    worker.deliver(job_id)
    error = job_facts(engine, job_id).error
    assert error is not None
    assert error["code"] == "mail_bad_address"


def test_killed_between_sending_and_record_it_is_sent_again_with_the_same_message_id(
    worker: Worker,
    engine: Engine,
    tenant: Customer,
    server: MailServer,
    environment: dict[str, str],
) -> None:
    """The process dies when the server has the mail and hasn't said so."""
    job_id = add_queued(engine, tenant.id, BILL)
    command = [sys.executable, "-c", CHILD, str(job_id)]
    with subprocess.Popen(command, env={**os.environ, **environment}) as child:
        server.after_content = lambda: os.kill(child.pid, signal.SIGKILL)
        assert child.wait(60) == -signal.SIGKILL, job_facts(engine, job_id).error
    server.after_content = None
    assert len(server.taken) == 1
    assert job_facts(engine, job_id).state == "running"
    assert worker.deliver(job_id, redelivered=True) is Disposition.ACKNOWLEDGE
    assert job_facts(engine, job_id).state == "succeeded"
    ids = [str(mail["Message-ID"]) for mail in server.mails]
    assert ids == [f"<{job_id}@millrace.example>"] * 2


class TestUnsubscribing:
    @pytest.fixture
    def link(self, worker: Worker, engine: Engine, tenant: Customer, server: MailServer) -> str:
        """Where the reminder's own header leads."""
        ends = days_ago(engine, -2)
        set_columns(engine, "tenants", tenant.id, plan="trial", trial_ends_at=ends)
        worker.deliver(add_queued(engine, tenant.id, TrialEndingMail()))
        (mail,) = server.mails
        assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        address = str(mail["List-Unsubscribe"]).strip("<>")
        assert address in mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
        assert address.startswith("https://millrace.example/")
        return address.removeprefix("https://millrace.example")

    def test_one_click_is_enough_and_looking_is_not(
        self,
        worker: Worker,
        engine: Engine,
        tenant: Customer,
        server: MailServer,
        web: Web,
        link: str,
    ) -> None:
        with web.client(None) as nobody:
            assert f"reminders about your trial to <strong>{tenant.email}" in nobody.get(link).text
            assert count(engine, "mail_suppressions") == 0
            for _ in range(2):
                clicked = nobody.post(link, data={"List-Unsubscribe": "One-Click"})
                assert clicked.status_code == 200
            assert count(engine, "mail_suppressions") == 1
            reminder = add_queued(engine, tenant.id, TrialEndingMail())
            worker.deliver(reminder)
            assert job_facts(engine, reminder).state == "cancelled"
            assert job_facts(engine, deliver(worker, engine, tenant)).state == "succeeded"
            assert len(server.taken) == 2, "what is owed still comes"
            assert "Subscribe again" in nobody.get(link).text
            nobody.post(link, data={"back": "yes"})
        worker.deliver(add_queued(engine, tenant.id, TrialEndingMail()))
        assert len(server.taken) == 3

    def test_a_link_that_was_tampered_with_does_nothing(
        self, engine: Engine, web: Web, link: str
    ) -> None:
        body, _, signature = link.removeprefix("/mail/unsubscribe?token=").partition(".")
        swapped = signature[:-2] + ("A" if signature[-2] != "A" else "B") + signature[-1]
        with web.client(None) as nobody:
            for token in (
                f"{body}.{swapped}",
                body,
                f"{body}.",
                f"A{body}.{signature}",
                "",
                "é",
                ".",
            ):
                for ask in (nobody.get, nobody.post):
                    answer = ask("/mail/unsubscribe", params={"token": token})
                    assert answer.status_code == 404, token
        assert count(engine, "mail_suppressions") == 0
