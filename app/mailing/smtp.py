"""The mail server: one connection of a process, kept, looked after, and replaced when it is gone."""

import smtplib
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NoReturn

from app.ledger.job_error import printable
from app.mailing.message import Envelope
from app.mailing.refusals import CLOSING, Course, Stage, Verdict, judge_lost, judge_reply
from app.settings import Settings, SmtpTls
from app.traces import spans

MAX_REPLY_CHARS = 500
LOGIN_PAUSE_SECONDS = 60.0
"""After a refused login a process doesn't try again for so long: servers lock accounts out."""
GOODBYE_SECONDS = 1.0
_READY, _OK = 220, 250


class MailFailed(Exception):
    """The server didn't take the mail; the verdict says what follows. `asked` is False when nobody was
    asked, because the answer is known from a moment ago.
    """

    def __init__(self, verdict: Verdict, *, asked: bool = True) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict
        self.asked = asked


class _Gone(Exception):
    """A kept connection turned out to be closed, before the mail was on its way."""


@dataclass(slots=True)
class _Line:
    """An open connection."""

    smtp: smtplib.SMTP
    opened_at: float
    mails: int = 0


class Mailer:
    """Sends over one connection, opened with the first mail. Not for several threads at once."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._line: _Line | None = None
        self._stage = Stage.CONNECT
        self._barred: tuple[float, Verdict] | None = None

    def send(self, mail: Envelope) -> str:
        """Hand the mail over; returns the server's answer. Raises MailFailed.

        A kept connection that the server has closed meanwhile is replaced, once, and the mail goes out
        over the new one; a mail whose content was on its way is not sent again here.
        """
        if self._barred is not None and self._clock() < self._barred[0]:
            raise MailFailed(self._barred[1], asked=False)
        kept = self._rested()
        try:
            return self._converse(mail, kept)
        except _Gone:
            return self._converse(mail, None)

    def check(self) -> None:
        """Connect, encrypt and log in as for a mail, and send none. Raises MailFailed."""
        self.close()
        with self._judged(kept=False):
            self._connected()
        self.close()

    def close(self) -> None:
        """Say goodbye, for a second at most; the next mail opens a new connection."""
        line, self._line = self._line, None
        if line is None:
            return
        with suppress(OSError, smtplib.SMTPException):
            if line.smtp.sock is not None:
                line.smtp.sock.settimeout(GOODBYE_SECONDS)
                line.smtp.quit()
        line.smtp.close()

    def _rested(self) -> _Line | None:
        """The kept connection, if it is young, little used and answers."""
        line = self._line
        if line is None:
            return None
        age = self._clock() - line.opened_at
        if age >= self._settings.smtp_max_seconds or line.mails >= self._settings.smtp_max_mails:
            self.close()
            return None
        try:
            code, _ = line.smtp.rset()
        except (OSError, smtplib.SMTPException):
            code = 0
        if code != _OK:
            self._drop()
            return None
        return line

    def _converse(self, mail: Envelope, kept: _Line | None) -> str:
        facts = {"server.address": self._settings.smtp_host}
        with self._judged(kept=kept is not None), spans.client("SMTP", facts):
            line = kept or self._connected()
            answer = self._transact(line.smtp, mail)
            line.mails += 1
            return answer

    @contextmanager
    def _judged(self, *, kept: bool) -> Iterator[None]:
        """Turn what goes wrong into MailFailed, or _Gone for a `kept` connection; keep no line in doubt."""
        self._stage = Stage.SENDER if kept else Stage.CONNECT
        try:
            yield
        except MailFailed:
            raise
        except smtplib.SMTPResponseException as refused:
            code, text = refused.smtp_code, _words(refused.smtp_error)
            if code == CLOSING or self._stage not in {Stage.RECIPIENT, Stage.CONTENT}:
                self._drop()
            if code == CLOSING and kept and self._stage is not Stage.CONTENT:
                raise _Gone from None
            self._fail(judge_reply(self._stage, code, text))
        except (OSError, smtplib.SMTPException) as lost:
            self._drop()
            if kept and self._stage is not Stage.CONTENT:
                raise _Gone from None
            self._fail(judge_lost(self._stage, lost))
        except BaseException:
            self._drop()
            raise

    def _fail(self, verdict: Verdict) -> NoReturn:
        if verdict.code == "mail_login_refused":
            self._barred = (self._clock() + LOGIN_PAUSE_SECONDS, verdict)
        raise MailFailed(verdict) from None

    def _connected(self) -> _Line:
        settings = self._settings
        where = (settings.smtp_host, settings.smtp_port)
        if settings.smtp_tls is SmtpTls.IMPLICIT:
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(
                *where, timeout=settings.smtp_timeout, context=self._context()
            )
        else:
            smtp = smtplib.SMTP(*where, timeout=settings.smtp_timeout)
        self._line = line = _Line(smtp, self._clock())
        self._stage = Stage.GREETING
        smtp.ehlo_or_helo_if_needed()
        if settings.smtp_tls is SmtpTls.STARTTLS:
            self._encrypt(smtp)
        if settings.smtp_username and settings.smtp_password:
            self._stage = Stage.LOGIN
            smtp.login(settings.smtp_username, settings.smtp_password.get_secret_value())
        self._barred = None
        return line

    def _encrypt(self, smtp: smtplib.SMTP) -> None:
        self._stage = Stage.TLS
        code, reply = smtp.starttls(context=self._context())
        if code != _READY:
            raise smtplib.SMTPResponseException(code, reply)
        smtp.ehlo()

    def _context(self) -> ssl.SSLContext:
        """Certificates and host names are checked, by the given authority alone where there is one."""
        authority = self._settings.smtp_ca_file
        try:
            return ssl.create_default_context(cafile=authority)
        except OSError as unreadable:
            raise ssl.SSLError(f"{authority} can't be read: {unreadable}") from unreadable

    def _transact(self, smtp: smtplib.SMTP, mail: Envelope) -> str:
        self._stage = Stage.SENDER
        _accept(smtp.mail(mail.sender, _options(smtp, mail)))
        self._stage = Stage.RECIPIENT
        _accept(smtp.rcpt(mail.recipient))
        self._stage = Stage.CONTENT
        return _accept(smtp.data(mail.content))

    def _drop(self) -> None:
        """Close without a word."""
        line, self._line = self._line, None
        if line is not None:
            line.smtp.close()


def _options(smtp: smtplib.SMTP, mail: Envelope) -> list[str]:
    options = [f"size={len(mail.content)}"] if smtp.has_extn("size") else []
    if not mail.smtputf8:
        return options
    if not smtp.has_extn("smtputf8"):
        raise MailFailed(
            Verdict(
                course=Course.DEAD,
                code="mail_needs_smtputf8",
                message=f"{mail.recipient} has letters beyond ASCII before the @, and the mail server "
                "doesn't offer SMTPUTF8. Use another address, or another mail server.",
            )
        )
    return [*options, "SMTPUTF8", "BODY=8BITMIME"]


def _accept(reply: tuple[int, bytes]) -> str:
    code, text = reply
    if code // 100 != 2:  # noqa: PLR2004 - the reply's first digit
        raise smtplib.SMTPResponseException(code, text)
    return f"{code} {_words(text)}"


def _words(reply: bytes | str) -> str:
    """A reply on one line, with nothing that can't be stored."""
    text = reply.decode("utf-8", "backslashreplace") if isinstance(reply, bytes) else reply
    return printable(" ".join(text.split()))[:MAX_REPLY_CHARS]
