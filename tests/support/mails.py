"""A mail as it goes to a server, and the settings to send it."""

from typing import Any

from pydantic import SecretStr

from app.mailing.addresses import parse_address
from app.mailing.letters import ReportReady
from app.mailing.message import Envelope, compose, sender_of
from app.mailing.rendering import render
from app.settings import Settings
from tests.support.mail_server import HOST, MailServer


def mail_settings(server: MailServer | None = None, **more: Any) -> Settings:
    """Nothing but mail is reached with these."""
    facts = {
        "database_url": SecretStr("postgresql://user@127.0.0.1:1/none"),
        "broker_url": SecretStr("amqp://user@127.0.0.1:1/none"),
        "smtp_host": HOST,
        "smtp_port": server.port if server else 1,
        "smtp_timeout": 5.0,
        **more,
    }
    return Settings(**facts)


def an_envelope(
    *, to: str = "ada@example.com", title: str = "Contacts", settings: Settings | None = None
) -> Envelope:
    settings = settings or mail_settings()
    letter = ReportReady(title=title, download_path="/x", expires_at=None, timezone="UTC")
    return compose(
        render(letter, settings),
        sender=sender_of(settings.mail_from),
        to=parse_address(to),
        identity="<1@millrace.example>",
    )
