"""A real SMTP server that answers as it is told, and keeps what it took and from which connection."""

import asyncio
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import Any, AnyStr

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

HOST = "127.0.0.1"
USER, PASSWORD = "millrace", "right"


def parse(raw: bytes) -> EmailMessage:
    return BytesParser(EmailMessage, policy=policy.default).parsebytes(raw)


@dataclass
class MailServer:
    """`answers` maps a verb (MAIL, RCPT, DATA, EHLO, AUTH) to what it is answered instead of 250; an answer
    is used once for each in its list, the last one for good. `after_content` runs when a mail is taken and
    not yet answered.
    """

    port: int = 0
    answers: dict[str, list[str]] = field(default_factory=dict)
    taken: list[tuple[int, bytes]] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    options: list[list[str]] = field(default_factory=list)
    connections: int = 0
    logins: list[str] = field(default_factory=list)
    after_content: Callable[[], None] | None = None
    _open: list[SMTP] = field(default_factory=list)
    _loop: asyncio.AbstractEventLoop | None = None

    @property
    def mails(self) -> list[EmailMessage]:
        return [parse(raw) for _, raw in self.taken]

    def say(self, verb: str, *answers: str) -> None:
        self.answers[verb] = list(answers)

    def hang_up(self) -> None:
        """Close every connection from this side, and return when it is done."""
        done = threading.Event()

        def close() -> None:
            for one in self._open:
                if one.transport is not None:
                    one.transport.close()
            done.set()

        assert self._loop is not None
        self._loop.call_soon_threadsafe(close)
        assert done.wait(5)

    def close_newest(self) -> None:
        """Without an answer; for `after_content`."""
        transport = self._open[-1].transport
        assert transport is not None
        transport.close()

    def answer(self, verb: str) -> str | None:
        waiting = self.answers.get(verb)
        if not waiting:
            return None
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    async def handle_MAIL(  # noqa: N802 - the library's name
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if refusal := self.answer("MAIL"):
            return refusal
        envelope.mail_from = address
        self.options.append(options)
        return "250 2.1.0 Ok"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if refusal := self.answer("RCPT"):
            return refusal
        self.recipients.append(address)
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        if refusal := self.answer("DATA"):
            return refusal
        content = envelope.original_content
        assert content is not None
        self.taken.append((self._open.index(server), content))
        if self.after_content is not None:
            self.after_content()
        return f"250 2.0.0 Ok: queued as {len(self.taken)}"

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append(data.login.decode())
        refusal = self.answer("AUTH")
        right = data.login == USER.encode() and data.password == PASSWORD.encode()
        if refusal or not right:
            return AuthResult(
                success=False,
                handled=False,
                message=refusal or "535 5.7.8 Authentication credentials invalid",
            )
        return AuthResult(success=True)


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files of a certificate and its key, and of the authority that vouches for it."""

    chain: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.chain, self.key)
        return made


class _Scripted(SMTP):
    def __init__(self, told: MailServer, **options: Any) -> None:
        self._told = told
        super().__init__(told, hostname="localhost", **options)
        told.connections += 1
        told._open.append(self)

    async def push(self, status: AnyStr) -> None:
        """The greeting is the one thing that no handler is asked about."""
        greeting = self._told.answer("GREETING") if _bytes(status)[:3] == b"220" else None
        if greeting is None:
            await super().push(status)
        else:
            await super().push(greeting)


def _scripted(told: MailServer, options: dict[str, Any]) -> SMTP:
    """The library warns of logins without TLS; here they don't leave the machine."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return _Scripted(told, **options)


def _bytes(status: str | bytes) -> bytes:
    return status if isinstance(status, bytes) else status.encode()


@contextmanager
def mail_server(
    *,
    starttls: Certificate | None = None,
    implicit: Certificate | None = None,
    login: bool = False,
    smtputf8: bool = True,
) -> Iterator[MailServer]:
    """Serve on a free loopback port, in a thread, until the block ends."""
    told = MailServer()
    loop = told._loop = asyncio.new_event_loop()
    options: dict[str, Any] = {"enable_SMTPUTF8": smtputf8, "loop": loop}
    if starttls is not None:
        options |= {"tls_context": starttls.context(), "require_starttls": login}
    if login:
        options |= {
            "authenticator": told.authenticate,
            "auth_required": True,
            "auth_require_tls": implicit is None and starttls is not None,
        }
    server = loop.run_until_complete(
        loop.create_server(
            lambda: _scripted(told, options),
            HOST,
            0,
            ssl=implicit.context() if implicit else None,
        )
    )
    told.port = int(server.sockets[0].getsockname()[1])
    thread = threading.Thread(target=loop.run_forever, name="smtp")
    thread.start()
    try:
        yield told
    finally:
        told.hang_up()
        loop.call_soon_threadsafe(server.close)
        asyncio.run_coroutine_threadsafe(_settle(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


async def _settle() -> None:
    """Let every connection's task see that it is over."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
