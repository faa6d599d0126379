"""A new tenant is greeted once, by the commit that makes it."""

import json

import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner

from app.cli import app
from app.jobs import WelcomeMail
from app.settings import get_settings
from tests.support.clock import days_ago, set_columns
from tests.support.customers import Customer
from tests.support.jobs import add_queued
from tests.support.runtime import Worker
from tests.support.servers import Servers


def test_it_is_greeted(worker: Worker, engine: Engine, tenant: Customer, servers: Servers) -> None:
    worker.deliver(add_queued(engine, tenant.id, WelcomeMail()))
    (mail,) = servers.system.mails(recipient=tenant.email)
    assert mail.subject.startswith("Welcome to Millrace, tenant-")
    assert "trial" not in mail.text


def test_a_trial_is_told_of_its_end(
    worker: Worker, engine: Engine, tenant: Customer, servers: Servers
) -> None:
    ends = days_ago(engine, -14)
    set_columns(engine, "tenants", tenant.id, plan="trial", trial_ends_at=ends)
    worker.deliver(add_queued(engine, tenant.id, WelcomeMail()))
    (mail,) = servers.system.mails(recipient=tenant.email)
    assert f"Your trial runs until {ends:%Y-%m-%d %H:%M} (UTC)" in mail.text


@pytest.mark.parametrize(
    ("words", "greeted"), [(["--welcome"], 1), ([], 1), (["--no-welcome"], 0)], ids=str
)
def test_the_command_enqueues_it_once_unless_told_otherwise(
    environment: dict[str, str],
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    greeted: int,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    command = ["tenants", "create", "mill", "--email", "mill@example.com", "--json", *words]
    try:
        made = CliRunner().invoke(app, command)
        again = CliRunner().invoke(app, [*command, "--if-missing"])
    finally:
        get_settings.cache_clear()
    assert json.loads(made.stdout)["id"] == json.loads(again.stdout)["id"]
    with engine.connect() as tx:
        jobs = tx.execute(text("SELECT count(*) FROM jobs WHERE kind = 'mail.welcome'"))
        assert jobs.scalar_one() == greeted
