"""Delivery status notifications (RFC 3464): what mail servers say later about a mail that was accepted. Pure.

Anybody can send us one, so nothing here is believed: a report is facts to look up, and of bounded size.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes, message_from_string
from email.message import Message

from app.ledger.job_error import printable

MAX_RECIPIENTS = 100
MAX_FIELD_CHARS = 500
_STATUS = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")
_ORIGINALS = frozenset({"message/rfc822", "text/rfc822-headers"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What is said about one recipient of one mail. `recipients` are the addresses that may be meant, in lower
    case: the final one, and the one that it was sent to where that is another.
    """

    message_id: str
    recipients: tuple[str, ...]
    action: str
    """`failed`, `delayed`, `delivered`, `relayed` or `expanded`."""
    status: str
    """An enhanced code such as `5.1.1`; empty where there is none."""
    answer: str


def read_reports(data: bytes) -> list[Report]:
    """What a message reports; nothing for one that is no report, or names no mail that it is about."""
    whole = message_from_bytes(data)
    if whole.get_content_type() != "multipart/report" or not whole.is_multipart():
        return []
    parts = [part for part in _parts(whole) if isinstance(part, Message)]
    identity = next(filter(None, map(_message_id, parts)), "")
    if not identity:
        return []
    blocks = [block for part in parts for block in _blocks(part)]
    found = (_report(identity, block) for block in blocks[:MAX_RECIPIENTS])
    return [each for each in found if each is not None]


def _parts(message: Message) -> Iterator[object]:
    payload = message.get_payload()
    return iter(payload) if isinstance(payload, list) else iter(())


def _message_id(part: Message) -> str:
    """Of the mail, or its headers, that the report encloses."""
    if part.get_content_type() not in _ORIGINALS:
        return ""
    if part.is_multipart():
        enclosed = next(_parts(part), None)
        headers = enclosed if isinstance(enclosed, Message) else Message()
    else:
        raw = part.get_payload(decode=True)
        text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else ""
        headers = message_from_string(text.lstrip())
    return _words(headers, "Message-ID")


def _blocks(part: Message) -> list[Message]:
    """The fields about each recipient; the first block is about the mail as a whole."""
    if part.get_content_type() != "message/delivery-status":
        return []
    return [block for block in _parts(part) if isinstance(block, Message) and block["Action"]]


def _report(identity: str, block: Message) -> Report | None:
    named = [_address(_words(block, name)) for name in ("Original-Recipient", "Final-Recipient")]
    recipients = tuple(dict.fromkeys(each for each in named if each))
    if not recipients:
        return None
    answer = _words(block, "Diagnostic-Code").partition(";")[2].strip()
    status = _STATUS.search(_words(block, "Status"))
    return Report(
        message_id=identity,
        recipients=recipients,
        action=_words(block, "Action").lower(),
        status=status.group(1) if status else "",
        answer=answer,
    )


def _address(field: str) -> str:
    """Of `rfc822; ada@example.com`."""
    return field.partition(";")[2].strip().strip("<>").lower()


def _words(message: Message, name: str) -> str:
    """On one line, with nothing that can't be stored."""
    return printable(" ".join(str(message.get(name, "")).split()))[:MAX_FIELD_CHARS]
