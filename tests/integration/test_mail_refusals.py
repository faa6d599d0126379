"""docs/mail.md, line by line, against a real SMTP server."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.mailing.refusals import Course
from app.mailing.smtp import Mailer, MailFailed
from app.settings import Settings
from tests.support.mail_server import PASSWORD, USER, MailServer, mail_server
from tests.support.mails import an_envelope, mail_settings

PAGE = (Path(__file__).parents[2] / "docs" / "mail.md").read_text()
LINES = re.findall(
    r"^\| ([A-Z]+) \| `(\d{3} [^`]+)` \| (\w+) \| `(\w+)` \| (?:(\d+) s)? ?\| ?(\w*) ?\|$",
    PAGE,
    re.MULTILINE,
)


@pytest.fixture(scope="module")
def server() -> Iterator[MailServer]:
    with mail_server(login=True) as told:
        yield told


@pytest.fixture
def settings(server: MailServer) -> Settings:
    return mail_settings(server, smtp_username=USER, smtp_password=SecretStr(PASSWORD))


def test_the_page_has_them() -> None:
    assert len(LINES) == PAGE.count("\n| GREETING") + len(
        re.findall(r"^\| (?:AUTH|MAIL|RCPT|DATA) ", PAGE, re.MULTILINE)
    )
    assert len(LINES) > 30


@pytest.mark.parametrize(
    ("verb", "answer", "outcome", "code", "seconds", "also"),
    LINES,
    ids=lambda value: str(value).replace(" ", "-"),
)
def test_an_answer_means_what_the_page_says(
    server: MailServer,
    settings: Settings,
    verb: str,
    answer: str,
    outcome: str,
    code: str,
    seconds: str,
    also: str,
) -> None:
    server.answers.clear()
    server.say(verb, answer)
    mailer = Mailer(settings)
    with pytest.raises(MailFailed) as failed:
        mailer.send(an_envelope())
    server.answers.clear()
    verdict = failed.value.verdict
    assert (verdict.course, verdict.code) == (Course(outcome), code)
    assert verdict.after_seconds == float(seconds or 0)
    assert verdict.operator == (also == "incident")
    assert verdict.suppress == (also == "suppressed")
    assert verdict.reply_code == int(answer[:3])
    assert answer in verdict.message
    mailer.close()
