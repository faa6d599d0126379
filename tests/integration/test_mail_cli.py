"""`millrace mail`: is the mail server there, and who is not written to."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner, Result

from app.cli import app
from app.ids import new_id
from app.mailing import record, suppressions
from app.mailing.letters import Topic
from app.mailing.record import Entry, LoggedMail, Status
from app.settings import get_settings
from tests.support.bounces import bounce, plain_mail
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


def mail(*words: str, piped: bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["mail", *words], input=piped)


def sent(engine: Engine, tenant_id: UUID, recipient: str) -> str:
    """A mail that the server took; its Message-ID."""
    job_id = new_id()
    entry = Entry(
        tenant_id=tenant_id,
        job_id=job_id,
        template="welcome",
        recipient=recipient,
        subject="Welcome",
        message_id=f"<{job_id}@millrace.example>",
        status=Status.SENT,
    )
    with engine.begin() as tx:
        record.write(tx, entry)
    return entry.message_id


def logged(engine: Engine, tenant_id: UUID) -> dict[str, LoggedMail]:
    with engine.connect() as tx:
        return {each.recipient: each for each in record.page(tx, tenant_id, limit=100)}


def suppressed(engine: Engine, tenant_id: UUID) -> dict[str, str]:
    with engine.connect() as tx:
        found = suppressions.page(tx, tenant_id, limit=100)
    return {each.address: each.reason for each in found}


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


def test_bounces_mark_the_mail_and_suppress_what_does_not_exist(
    engine: Engine, tenant: Customer, stranger: Customer, tmp_path: Path
) -> None:
    ids = {
        name: sent(engine, tenant.id, f"{name}@example.com") for name in ("Gone", "full", "slow")
    }
    sent(engine, stranger.id, "gone@example.com")
    late = partial(bounce, action="delayed", status="4.4.1", answer="smtp; 451 4.4.1 No answer")
    messages = [
        bounce(ids["Gone"], "gone@EXAMPLE.com"),
        bounce(ids["full"], "full@example.com", status="5.2.2", answer="smtp; 552 5.2.2 Full"),
        late(ids["slow"], "slow@example.com"),
        plain_mail(),
    ]
    box = tmp_path / "box"
    box.write_bytes(
        b"".join(b"From MAILER-DAEMON Fri Nov 27 10:00:00 2026\n" + m + b"\n" for m in messages)
    )
    for _ in range(2):  # safe to repeat
        done = mail("bounces", str(box), "--json")
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout)
        assert [each["outcome"] for each in told["reports"]] == ["suppressed", "bounced", "delayed"]
        assert told["other_messages"] == 1
    mails = logged(engine, tenant.id)
    assert {name: each.status for name, each in mails.items()} == {
        "Gone@example.com": "bounced",
        "full@example.com": "bounced",
        "slow@example.com": "sent",
    }
    assert mails["slow@example.com"].bounce_status == "4.4.1"
    assert mails["full@example.com"].bounce_answer == "5.2.2 552 5.2.2 Full"
    assert suppressed(engine, tenant.id) == {"gone@example.com": "bounced"}
    assert suppressed(engine, stranger.id) == {}, "the same address, but another tenant's mail"
    assert "5.1.1" in mail("suppressions", str(tenant.id)).stdout
    again = mail("bounces", "-", piped=late(ids["Gone"], "gone@example.com"))
    assert again.stdout.startswith("delayed: gone@example.com")
    assert logged(engine, tenant.id)["Gone@example.com"].status == "bounced"
    full = mails["full@example.com"]
    facts = {name: getattr(full, name) for name in Entry.__dataclass_fields__}
    with engine.begin() as tx:
        # Nor does a record that comes late, of an attempt that lost its lease, change it.
        record.write(tx, Entry(**{**facts, "status": Status.WAITING}))
    assert logged(engine, tenant.id)["full@example.com"].status == "bounced"


def test_forged_reports_come_to_nothing(engine: Engine, tenant: Customer) -> None:
    theirs = sent(engine, tenant.id, "ada@example.com")
    forged = [
        bounce(theirs, "bob@example.com"),  # not who got it
        bounce(f"<{uuid4()}@millrace.example>", "ada@example.com"),  # no such mail
        bounce(theirs.replace("millrace", "other"), "ada@example.com"),
        bounce("<' OR 1=1 --@x>", "ada@example.com"),
    ]
    for data in forged:
        done = mail("bounces", "-", piped=data)
        assert (done.exit_code, done.stdout.split(":")[0]) == (0, "unknown")
    done = mail("bounces", "-", piped=b"\x00\xff rubbish")
    assert (done.exit_code, done.stdout) == (0, "no report: 1\n")
    delivered = mail("bounces", "-", piped=bounce(theirs, "ada@example.com", action="delivered"))
    assert delivered.stdout.startswith("ignored")
    assert logged(engine, tenant.id)["ada@example.com"].status == "sent"
    assert suppressed(engine, tenant.id) == {}


def test_a_pipe_is_told_to_try_again_and_a_person_what_is_wrong(
    operator: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing = mail("bounces", str(tmp_path / "none"))
    assert missing.exit_code == 1
    assert "can't be read: No such file" in str(missing.exception)
    operator.setenv("MILLRACE_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    get_settings.cache_clear()
    away = mail("bounces", "-", piped=bounce("<x@y>", "ada@example.com"))
    assert away.exit_code == 75
    assert "database doesn't answer" in away.stderr
