"""Mail: one message over SMTP."""

import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from uuid import UUID

from app.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A plain-text message to one person."""

    to: str
    subject: str
    text: str


def send(mail: Mail, settings: Settings, *, message_id: UUID) -> None:
    """Hand the message to the SMTP server; the Message-ID is made of `message_id` alone.

    Raises smtplib.SMTPException or OSError; all but a refused recipient are worth another try.
    """
    message = EmailMessage()
    message["From"] = settings.mail_from
    message["To"] = mail.to
    message["Subject"] = mail.subject
    message["Date"] = formatdate()
    domain = parseaddr(settings.mail_from)[1].rpartition("@")[2] or "localhost"
    message["Message-ID"] = f"<{message_id}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text)
    with smtplib.SMTP(
        settings.smtp_host, settings.smtp_port, timeout=settings.smtp_timeout
    ) as server:
        if settings.smtp_starttls:
            server.starttls(context=ssl.create_default_context())
        if settings.smtp_username and settings.smtp_password:
            server.login(settings.smtp_username, settings.smtp_password.get_secret_value())
        server.send_message(message)
