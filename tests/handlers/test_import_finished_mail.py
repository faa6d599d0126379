"""The mail at an import's end: to the tenant, with the figures, recognisable when it is sent twice."""

import mailbox
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.storage import Storage
from tests.support.customers import Customer
from tests.support.imports import accepted_import, dispatch
from tests.support.jobs import job_facts, lose_worker
from tests.support.runtime import Worker
from tests.support.servers import Servers
from workers.runtime.executor import Disposition

FILE = b"email\n" + b"".join(b"user%d@example.com\n" % number for number in range(400))


def mail_job(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    data: bytes,
    *,
    dry_run: bool = False,
) -> UUID:
    """Import the file to its end; the job of its mail, published."""
    accepted_import(engine, storage, tenant.id, data, dry_run=dry_run)
    while True:
        for job_id, kind in dispatch(engine):
            if kind == "mail.import_finished":
                return job_id
            worker.deliver(job_id)


def message_ids(servers: Servers, recipient: str) -> list[str]:
    folder = mailbox.Maildir(str(servers.system.layout.mail))
    return [str(mail["Message-ID"]) for mail in folder if mail["To"] == recipient]


def test_the_tenant_hears_the_figures(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, servers: Servers
) -> None:
    data = b"email\na@example.com\nb@example.com\nnobody\n"
    job_id = mail_job(worker, engine, storage, tenant, data)
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    (mail,) = servers.system.mails(recipient=tenant.email)
    assert mail.subject == "Import is finished: people.csv"
    figures = dict(line.split() for line in mail.text.splitlines() if line.startswith("  "))
    assert figures == {
        "rows": "3",
        "inserted": "2",
        "updated": "0",
        "unchanged": "0",
        "rejected": "1",
    }
    assert "/rejected.csv" in mail.text


def test_a_failure_is_told_with_its_reason(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, servers: Servers
) -> None:
    job_id = mail_job(worker, engine, storage, tenant, FILE + b"x" * 2_500_000)
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    (mail,) = servers.system.mails(recipient=tenant.email)
    assert mail.subject == "Import has failed: people.csv"
    assert "line of more than" in mail.text


def test_a_mail_that_was_sent_is_not_sent_again(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, servers: Servers
) -> None:
    job_id = mail_job(worker, engine, storage, tenant, b"email\n")
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    lose_worker(engine, job_id)
    assert worker.deliver(job_id, redelivered=True) is Disposition.ACKNOWLEDGE
    assert message_ids(servers, tenant.email) == [f"<{job_id}@millrace.example>"]


def test_a_mail_whose_sending_is_in_doubt_is_sent_again_with_the_same_message_id(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, servers: Servers
) -> None:
    """A crash between the sending and its record: SMTP has no idempotency key but this."""
    job_id = mail_job(worker, engine, storage, tenant, b"email\n")
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    with engine.begin() as tx:
        tx.execute(text("UPDATE effects SET done_at = NULL"))
    lose_worker(engine, job_id)
    assert worker.deliver(job_id, redelivered=True) is Disposition.ACKNOWLEDGE
    assert message_ids(servers, tenant.email) == [f"<{job_id}@millrace.example>"] * 2


class TestNoMailServer:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return {**environment, "MILLRACE_SMTP_PORT": "1"}

    def test_the_mail_is_tried_again_later(
        self, worker: Worker, engine: Engine, storage: Storage, tenant: Customer
    ) -> None:
        job_id = mail_job(worker, engine, storage, tenant, b"email\n")
        assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
        facts = job_facts(engine, job_id)
        assert facts.state == "scheduled"
        assert facts.error is not None
        assert facts.error["code"] == "mail_server_away"

        assert "ConnectionRefusedError" in facts.error["message"]
        assert (facts.attempt, facts.max_attempts) == (1, 13), "it costs no attempt"


def test_a_dry_run_says_that_it_was_one(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, servers: Servers
) -> None:
    job_id = mail_job(worker, engine, storage, tenant, b"email\na@example.com\n", dry_run=True)
    worker.deliver(job_id)
    (mail,) = servers.system.mails(recipient=tenant.email)
    assert mail.subject == "Dry run is finished: people.csv"
    assert "/changes.csv" in mail.text
