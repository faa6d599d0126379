"""What an SMTP server's answer means for the mail: try it again, wait for somebody to mend something, or
give it up. Pure; docs/mail.md shows the table.

The codes are RFC 5321's, the enhanced ones (4.2.2, 5.1.1) RFC 3463's and the registry's that follows it.
Whoever reads only the first digit gives up mail that a new password would deliver, and keeps writing to
people who are gone.
"""

import re
import ssl
from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """Where in the conversation it happened."""

    CONNECT = "connect"
    GREETING = "greeting"
    TLS = "tls"
    LOGIN = "login"
    SENDER = "sender"
    RECIPIENT = "recipient"
    CONTENT = "content"


class Course(StrEnum):
    """RETRY costs the job an attempt; WAIT, for what is not the mail's fault, costs none; DEAD is the end."""

    RETRY = "retry"
    WAIT = "wait"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`after_seconds` is how long to leave the server alone at least. `operator` says that somebody has to
    mend something; `suppress` that the address is gone and is not to be written to again.
    """

    course: Course
    code: str
    message: str
    after_seconds: float = 0.0
    operator: bool = False
    suppress: bool = False
    reply_code: int | None = None


CLOSING = 421
"""The server closes the connection, whatever it was about."""
_EARLY = frozenset({Stage.CONNECT, Stage.GREETING, Stage.TLS, Stage.LOGIN, Stage.SENDER})
"""Before a recipient was named: nothing that is answered here is about this mail."""
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?=\s|$)")
_DEFERRED_SECONDS = {450: 300.0, 451: 120.0, 452: 600.0}
_OTHER_DEFERRED_SECONDS = 120.0
_BUSY_SECONDS = 60.0
_AWAY_SECONDS = 15.0
_MEND_SECONDS = 300.0
_LOGIN_CODES = frozenset({530, 534, 535, 538})
_SYNTAX_CODES = frozenset({500, 501, 502, 503, 504, 521, 555})
_SENDER_REFUSED = frozenset({"5.1.7", "5.1.8"})
GONE = frozenset({"5.1.1", "5.1.6", "5.1.10"})
"""No such mailbox; it moved and left no address; its domain takes no mail at all."""
_TOO_LARGE = "5.3.4"
_PERMANENT, _STORAGE, _FAILED = 500, 552, 554


def enhanced_code(text: str) -> str:
    """The enhanced code at the beginning of a reply, or nothing."""
    found = _ENHANCED.match(text.lstrip())
    return found.group(1) if found else ""


def judge_reply(stage: Stage, code: int, text: str) -> Verdict:
    """A reply that refuses, at once or for now."""
    detail = enhanced_code(text)
    words = f"The mail server answered {code} {text} ({stage.value})."
    if code < _PERMANENT:
        return _for_now(stage, code, detail, words)
    blame = _blame(stage, code, detail)
    if blame is not None:
        return Verdict(
            course=Course.WAIT,
            code=blame,
            message=words,
            after_seconds=_MEND_SECONDS,
            operator=True,
            reply_code=code,
        )
    return Verdict(
        course=Course.DEAD,
        code="mail_refused",
        message=words,
        suppress=stage is Stage.RECIPIENT and detail in GONE,
        reply_code=code,
    )


def judge_lost(stage: Stage, error: Exception) -> Verdict:
    """No reply: no connection, no TLS, a time-out, a connection that closed.

    Once the content is on its way nobody knows whether the server took it. Sending it again may show a
    person the mail twice, and so that costs an attempt each time.
    """
    words = f"{type(error).__name__}: {error} ({stage.value})"
    if stage is Stage.CONTENT:
        return Verdict(
            course=Course.RETRY,
            code="mail_answer_lost",
            message=f"The mail server's answer was lost, it may have taken the mail. {words}",
            after_seconds=_BUSY_SECONDS,
        )
    if stage is Stage.TLS or isinstance(error, ssl.SSLError):
        return Verdict(
            course=Course.WAIT,
            code="mail_tls_failed",
            message=f"No encrypted connection to the mail server, and none is used without. {words}",
            after_seconds=_MEND_SECONDS,
            operator=True,
        )
    if stage is Stage.LOGIN:
        return Verdict(
            course=Course.WAIT,
            code="mail_login_refused",
            message=f"No login at the mail server. {words}",
            after_seconds=_MEND_SECONDS,
            operator=True,
        )
    return Verdict(
        course=Course.WAIT,
        code="mail_server_away",
        message=f"The mail server can't be reached. {words}",
        after_seconds=_AWAY_SECONDS,
        operator=True,
    )


def _for_now(stage: Stage, code: int, detail: str, words: str) -> Verdict:
    """4yz: later."""
    if code == CLOSING or stage in _EARLY:
        return Verdict(
            course=Course.WAIT,
            code="mail_server_busy",
            message=words,
            after_seconds=_BUSY_SECONDS,
            reply_code=code,
        )
    pause = 300.0 if detail.startswith("4.7.") else _DEFERRED_SECONDS.get(code)
    return Verdict(
        course=Course.RETRY,
        code="mail_deferred",
        message=words,
        after_seconds=pause or _OTHER_DEFERRED_SECONDS,
        reply_code=code,
    )


def _blame(stage: Stage, code: int, detail: str) -> str | None:
    """The code of what an operator has to mend; None when it is about this recipient or this mail."""
    if stage is Stage.LOGIN or code in _LOGIN_CODES:
        return "mail_login_refused"
    if stage is Stage.TLS:
        return "mail_tls_failed"
    if detail == _TOO_LARGE or (stage is Stage.SENDER and code == _STORAGE):
        return None
    ours = stage in _EARLY or code in _SYNTAX_CODES
    policy = detail.startswith("5.7.") or detail in _SENDER_REFUSED
    relay_denied = stage is Stage.RECIPIENT and code == _FAILED and not detail
    return "mail_policy" if ours or policy or relay_denied else None
