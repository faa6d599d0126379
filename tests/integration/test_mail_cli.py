"""`millrace mail`: is the mail server there, and who is not written to."""

import json
from collections.abc import Iterator
from uuid import uuid4

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner, Result

from app.cli import app
from app.mailing import suppressions
from app.mailing.letters import Topic
from app.settings import get_settings
from tests.support.customers import Customer
from tests.support.mail_server import MailServer, mail_server


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server() as told:
        yield told


@pytest.fixture(autouse=True)
def operator(
    environment: dict[str, str], server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.MonkeyPatch]:
    """Whose shell has the settings."""
    for name, value in {**environment, "MILLRACE_SMTP_PORT": str(server.port)}.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    yield monkeypatch
    get_settings.cache_clear()


def mail(*words: str) -> Result:
    return CliRunner().invoke(app, ["mail", *words])


def test_check_tries_the_server_and_sends_nothing(
    server: MailServer, operator: pytest.MonkeyPatch
) -> None:
    assert f":{server.port} takes mail (none)" in mail("check").stdout
    operator.setenv("MILLRACE_SMTP_TLS", "starttls")
    get_settings.cache_clear()
    failed = mail("check")
    assert failed.exit_code == 1
    assert "STARTTLS extension not supported" in str(failed.exception)
    assert (server.connections, server.taken) == (2, [])


def test_suppressions_are_listed_and_taken_out(
    engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    with engine.begin() as tx:
        suppressions.suppress(tx, tenant.id, "Gone@example.com", detail="550 5.1.1 No such user")
        suppressions.unsubscribe(tx, tenant.id, "ada@example.com", Topic.DAILY_REPORT)
    listed = json.loads(mail("suppressions", str(tenant.id), "--json").stdout)
    assert [(one["address"], one["topic"], one["reason"]) for one in listed] == [
        ("ada@example.com", "daily_report", "unsubscribed"),
        ("gone@example.com", None, "refused"),
    ]
    assert "550 5.1.1 No such user" in mail("suppressions", str(tenant.id)).stdout
    gone = listed[1]["id"]
    for words in ((str(stranger.id), gone), (str(tenant.id), str(uuid4()))):
        assert "no suppression" in str(mail("unsuppress", *words).exception)
    assert mail("unsuppress", str(tenant.id), gone).exit_code == 0
    (kept,) = json.loads(mail("suppressions", str(tenant.id), "--json").stdout)
    assert kept["address"] == "ada@example.com"
