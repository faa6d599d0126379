"""What was asked for can be fetched: the link is ours, until when it leads somewhere is told."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError
from sqlalchemy import Engine

from app.jobs import ReportReadyMail
from app.keys import set_timezone
from tests.support.customers import Customer
from tests.support.jobs import add_queued
from tests.support.runtime import Worker
from tests.support.servers import Servers

EXPIRES = datetime(2026, 5, 1, 6, 0, tzinfo=UTC)


def test_it_links_below_the_public_url(
    worker: Worker, engine: Engine, tenant: Customer, servers: Servers
) -> None:
    with engine.begin() as tx:
        set_timezone(tx, tenant.id, "Asia/Kathmandu")
    job = ReportReadyMail(
        title="Contacts", download_path="/v1/exports/7/file?as=csv", expires_at=EXPIRES
    )
    worker.deliver(add_queued(engine, tenant.id, job))
    (mail,) = servers.system.mails(recipient=tenant.email)
    assert mail.subject == "Ready: Contacts"
    assert f"{worker.runtime.settings.public_url}/v1/exports/7/file?as=csv" in mail.text
    assert "until 2026-05-01 11:45 (Asia/Kathmandu)" in mail.text


def test_it_goes_to_whom_the_payload_says(
    worker: Worker, engine: Engine, tenant: Customer, servers: Servers
) -> None:
    other = f"other-{tenant.email}"
    job = ReportReadyMail(title="Contacts", download_path="/x", recipient=other)
    worker.deliver(add_queued(engine, tenant.id, job))
    (mail,) = servers.system.mails(recipient=tenant.email)
    assert mail.recipient == other
    assert "kept until" not in mail.text


@pytest.mark.parametrize(
    "path", ["//evil.example/x", "https://evil.example", "x", "/a b", "/a\n", ""]
)
def test_a_link_to_elsewhere_is_refused_before_it_is_a_job(path: str) -> None:
    with pytest.raises(ValidationError):
        ReportReadyMail(title="Contacts", download_path=path)
