"""Delivery status notifications are read for what they say, and nothing in them breaks the reader."""

import random

import pytest

from app.mailing.reports import MAX_RECIPIENTS, read_reports
from tests.support.bounces import bounce, plain_mail

MAIL = "<019ac0f4-0000-7000-8000-000000000001@millrace.example>"


@pytest.mark.parametrize("headers_only", [False, True])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_report_names_mail_recipient_and_why(headers_only: bool, line_end: bytes) -> None:
    data = bounce(MAIL, "Ada@Example.com", headers_only=headers_only).replace(b"\n", line_end)
    (report,) = read_reports(data)
    assert (report.message_id, report.recipients) == (MAIL, ("ada@example.com",))
    assert (report.action, report.status) == ("failed", "5.1.1")
    assert report.answer == "550 5.1.1 <x>: Recipient address rejected: User unknown"


def test_the_address_that_it_was_sent_to_is_known_where_it_was_forwarded() -> None:
    (report,) = read_reports(bounce(MAIL, "ada@elsewhere.example", original="<ada@example.com>"))
    assert report.recipients == ("ada@example.com", "ada@elsewhere.example")


def test_each_recipient_has_a_report_up_to_a_number() -> None:
    data = bounce(MAIL, "ada@example.com")
    block = b"Final-Recipient: rfc822; b@example.com\nAction: delayed\nStatus: 4.2.2\n\n"
    many = data.replace(b"Final-Recipient", block * 200 + b"Final-Recipient", 1)
    reports = read_reports(many)
    assert len(reports) == MAX_RECIPIENTS
    assert {(each.action, each.status) for each in reports} == {("delayed", "4.2.2")}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\xff" * 100,
        plain_mail(),
        bounce(MAIL, "ada@example.com").replace(b"multipart/report", b"multipart/mixed"),
        bounce(MAIL, "ada@example.com").replace(b"message/delivery-status", b"text/plain"),
        bounce(MAIL, "ada@example.com").replace(b"Message-ID", b"X-Other"),
        bounce(MAIL, ""),
    ],
    ids=["empty", "bytes", "plain", "mixed", "no status", "no mail", "no recipient"],
)
def test_what_is_no_report_says_nothing(data: bytes) -> None:
    assert read_reports(data) == []


def test_what_is_cut_or_spoilt_is_read_or_passed_over() -> None:
    whole = bounce(MAIL, "ada@example.com")
    for at in range(0, len(whole), 5):
        read_reports(whole[:at])
    dice = random.Random(7)  # noqa: S311 - no secret
    for _ in range(300):
        spoilt = bytearray(whole)
        for _ in range(6):
            spoilt[dice.randrange(len(spoilt))] = dice.randrange(256)
        for report in read_reports(bytes(spoilt)):
            words = " ".join((report.message_id, *report.recipients, report.answer))
            assert "\0" not in words
            assert words.encode()
