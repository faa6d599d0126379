"""The connection to the mail server: kept, checked, replaced, encrypted; and what goes over it."""

import socket
import subprocess
from collections.abc import Iterator
from email.message import EmailMessage

import pytest
from pydantic import SecretStr

from app.mailing.refusals import Course
from app.mailing.smtp import LOGIN_PAUSE_SECONDS, Mailer, MailFailed
from tests.support.mail_server import (
    HOST,
    PASSWORD,
    USER,
    Certificate,
    MailServer,
    mail_server,
    parse,
)
from tests.support.mails import an_envelope, mail_settings

LOGIN = {"smtp_username": USER, "smtp_password": SecretStr(PASSWORD)}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server() as told:
        yield told


@pytest.fixture
def mailer(server: MailServer) -> Iterator[Mailer]:
    made = Mailer(mail_settings(server, smtp_max_mails=3))
    yield made
    made.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """For 127.0.0.1, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    chain, key = folder / "chain.pem", folder / "key.pem"
    subject = ["-subj", "/CN=mail", "-addext", f"subjectAltName=IP:{HOST}"]
    files = ["-keyout", str(key), "-out", str(chain)]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command = ["openssl", "req", "-x509", *curve, "-nodes", "-days", "2", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)
    return Certificate(chain, key)


def refused(mailer: Mailer, to: str = "ada@example.com") -> MailFailed:
    with pytest.raises(MailFailed) as failed:
        mailer.send(an_envelope(to=to))
    return failed.value


def test_mails_share_a_connection_up_to_a_number(server: MailServer, mailer: Mailer) -> None:
    for _ in range(4):
        assert mailer.send(an_envelope()).startswith("250 2.0.0 Ok: queued")
    assert [line for line, _ in server.taken] == [0, 0, 0, 1]


def test_an_old_connection_is_replaced(server: MailServer) -> None:
    clock = Clock()
    mailer = Mailer(mail_settings(server, smtp_max_seconds=60), clock=clock)
    for clock.now in (0.0, 59.0, 61.0):
        mailer.send(an_envelope())
    mailer.close()
    assert [line for line, _ in server.taken] == [0, 0, 1]


def test_a_connection_that_the_server_closed_is_replaced_unnoticed(
    server: MailServer, mailer: Mailer
) -> None:
    mailer.send(an_envelope())
    server.hang_up()
    mailer.send(an_envelope())
    assert (len(server.taken), server.connections) == (2, 2)


def test_a_kept_connection_that_says_goodbye_is_replaced_once(
    server: MailServer, mailer: Mailer
) -> None:
    mailer.send(an_envelope())
    server.say("MAIL", "421 4.4.2 Idle for too long", "421 4.3.2 And closing")
    assert refused(mailer).verdict.code == "mail_server_busy"
    assert server.connections == 2, "not a third time"
    server.answers.clear()
    mailer.send(an_envelope())
    assert len(server.taken) == 2


def test_after_a_refused_recipient_the_connection_goes_on(
    server: MailServer, mailer: Mailer
) -> None:
    server.say("RCPT", "550 5.1.1 No such user")
    assert refused(mailer).verdict.suppress
    server.answers.clear()
    mailer.send(an_envelope(to="bob@example.com"))
    assert (server.recipients, server.connections) == (["bob@example.com"], 1)


def test_an_answer_that_is_lost_is_not_asked_for_again_here(
    server: MailServer, mailer: Mailer
) -> None:
    """The server has the mail; whether to send it twice is for the job to decide, at the cost of a try."""
    mailer.send(an_envelope())
    server.after_content = server.close_newest
    failed = refused(mailer)
    assert (failed.verdict.course, failed.verdict.code) == (Course.RETRY, "mail_answer_lost")
    assert len(server.taken) == 2


def test_a_server_that_is_silent_is_away_after_the_time_out() -> None:
    with socket.create_server((HOST, 0)) as silent:
        server = MailServer(port=silent.getsockname()[1])
        mailer = Mailer(mail_settings(server, smtp_timeout=0.2))
        failed = refused(mailer)
    assert (failed.verdict.course, failed.verdict.code) == (Course.WAIT, "mail_server_away")
    assert "timed out" in str(failed)


def test_a_refused_login_is_not_repeated_for_a_minute() -> None:
    clock = Clock()
    with mail_server(login=True) as server:
        wrong = {**LOGIN, "smtp_password": SecretStr("wrong")}
        mailer = Mailer(mail_settings(server, **wrong), clock=clock)
        assert refused(mailer).asked
        clock.now = LOGIN_PAUSE_SECONDS - 1
        again = refused(mailer)
        assert (again.asked, again.verdict.code) == (False, "mail_login_refused")
        assert server.connections == 1
        clock.now = LOGIN_PAUSE_SECONDS
        assert refused(mailer).asked
        assert "wrong" not in str(again)


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_mail_and_password_are_encrypted_and_the_server_is_checked(
    certificate: Certificate, tls: str
) -> None:
    with mail_server(login=True, **{tls: certificate}) as server:  # type: ignore[arg-type]
        trusting = mail_settings(server, smtp_tls=tls, smtp_ca_file=str(certificate.chain), **LOGIN)
        mailer = Mailer(trusting)
        mailer.check()
        mailer.send(an_envelope())
        mailer.send(an_envelope())
        mailer.close()
        assert server.logins == [USER] * 2
        strict = Mailer(mail_settings(server, smtp_tls=tls, **LOGIN))
        failed = refused(strict)
        assert failed.verdict.code == "mail_tls_failed"
        assert "CERTIFICATE_VERIFY_FAILED" in str(failed)
        renamed = trusting.model_copy(update={"smtp_host": "localhost"})
        assert refused(Mailer(renamed)).verdict.code == "mail_tls_failed"
        absent = trusting.model_copy(update={"smtp_ca_file": "/nowhere.pem"})
        assert "/nowhere.pem can't be read" in str(refused(Mailer(absent)))
        assert (len(server.taken), len(server.logins)) == (2, 2)


def test_a_server_without_starttls_gets_nothing(server: MailServer) -> None:
    failed = refused(Mailer(mail_settings(server, smtp_tls="starttls")))
    assert failed.verdict.code == "mail_tls_failed"
    assert server.taken == []


def test_a_server_without_login_is_the_operators(server: MailServer) -> None:
    failed = refused(Mailer(mail_settings(server, **LOGIN)))
    assert (failed.verdict.code, failed.verdict.operator) == ("mail_login_refused", True)


def test_letters_beyond_ascii_take_a_server_that_knows_them(server: MailServer) -> None:
    mailer = Mailer(mail_settings(server))
    mailer.send(an_envelope(to="jörg@müller.example"))
    mailer.close()
    assert server.recipients == ["jörg@xn--mller-kva.example"]
    assert "SMTPUTF8" in server.options[0]
    assert "jörg@xn--mller-kva.example" in server.taken[0][1].decode()
    with mail_server(smtputf8=False) as old:
        mailer = Mailer(mail_settings(old))
        assert refused(mailer, to="jörg@example.com").verdict.code == "mail_needs_smtputf8"
        mailer.send(an_envelope(to="ada@müller.example"))
        mailer.close()
        assert old.recipients == ["ada@xn--mller-kva.example"]


def test_the_message_is_what_readers_expect(server: MailServer, mailer: Mailer) -> None:
    settings = mail_settings(server, mail_from="Mühle <mail@millrace.example>")
    mailer.send(an_envelope(title="Größen\n.\nund mehr 🌊", settings=settings))
    raw = server.taken[0][1]
    assert raw.isascii()
    assert max(map(len, raw.splitlines())) <= 998
    message = parse(raw)
    assert message["From"].addresses[0].display_name == "Mühle"
    assert message["Subject"] == "Ready: Größen . und mehr 🌊"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime is not None
    assert message["List-Unsubscribe"] is None
    assert message.get_content_type() == "multipart/alternative"
    text, html = message.iter_parts()
    assert isinstance(text, EmailMessage)
    assert isinstance(html, EmailMessage)
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert "Größen . und mehr 🌊 is ready." in text.get_content()
    assert "Größen . und mehr 🌊 is ready" in html.get_content()


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\u2028", "\x85", "\x0b"])
def test_no_title_adds_a_header(server: MailServer, mailer: Mailer, end: str) -> None:
    mailer.send(an_envelope(title=f"Contacts{end}Bcc: eve@example.com{end}{end}<b>body"))
    message = server.mails[0]
    assert message["Bcc"] is None
    assert str(message["Subject"]).startswith("Ready: Contacts Bcc: eve@example.com")
    assert server.recipients == ["ada@example.com"]
