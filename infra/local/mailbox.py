"""The SMTP sink's mails, as its readers see them."""

import mailbox
import sys
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

from infra.local.ports import accepts
from infra.local.program import Program

NAME = "smtp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One mail that the sink took."""

    sender: str
    recipient: str
    subject: str
    text: str

    @classmethod
    def parse(cls, raw: bytes) -> "Mail":
        message = BytesParser(EmailMessage, policy=policy.default).parsebytes(raw)
        body = message.get_body(preferencelist=("plain", "html"))
        return cls(
            sender=str(message["From"] or ""),
            recipient=str(message["To"] or ""),
            subject=str(message["Subject"] or ""),
            text=str(body.get_content()) if body else "",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MailSink:
    """An SMTP server that takes everything and delivers nothing."""

    folder: Path
    port: int

    def program(self) -> Program:
        return Program(
            name=NAME,
            command=[
                sys.executable,
                "-m",
                "infra.local.mail_sink",
                str(self.port),
                str(self.folder),
            ],
            ready=lambda: accepts(self.port),
            server=True,
        )

    def mails(self, *, recipient: str | None = None) -> list[Mail]:
        """The mails taken so far, oldest first; those to `recipient`, where one is given."""
        folder = mailbox.Maildir(str(self.folder), create=True)
        raw = {key: folder.get_bytes(key) for key in folder.keys()}  # noqa: SIM118
        mails = [Mail.parse(raw[key]) for key in sorted(raw, key=_arrival)]
        return [mail for mail in mails if recipient is None or recipient in mail.recipient]


def _arrival(key: str) -> tuple[int, int]:
    """Maildir names start with seconds.M<microseconds>P<pid>Q<count>."""
    seconds, rest = key.split(".", 2)[:2]
    micros = rest.removeprefix("M").partition("P")[0]
    return int(seconds), int(micros)
