"""Letters: each rendered twice, nothing unescaped, no fetch from anywhere, one line where one line belongs."""

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError

from app.mailing.letters import LETTERS, ImportFinished, Letter, ReportReady
from app.mailing.rendering import render, templates
from app.mailing.samples import SAMPLES
from app.mailing.wording import MAX_LINE_CHARS, money, one_line
from tests.support.mails import mail_settings

SETTINGS = mail_settings(public_url="https://millrace.example/")
HOSTILE = '"><script>alert(1)</script><img src=https://evil.example/x>'


def letter_of(kind: type[Letter]) -> Letter:
    return SAMPLES[kind.template]


def test_each_letter_has_a_sample_of_its_own_kind() -> None:
    assert {name: type(letter) for name, letter in SAMPLES.items()} == dict(LETTERS)


@pytest.mark.parametrize("name", LETTERS)
def test_each_is_complete_as_text_and_as_html(name: str) -> None:
    letter = SAMPLES[name]
    rendered = render(
        letter, SETTINGS, unsubscribe_url="https://u.example" if letter.topic else None
    )
    assert rendered.subject
    assert "\n" not in rendered.subject
    assert "<" not in rendered.text.replace("<spring>", "")
    for link in re.findall(r"https?://[^\s\"<]+", rendered.text + rendered.html):
        assert link.startswith(("https://millrace.example/", "https://u.", "https://pay."))
        assert "//" not in link.removeprefix("https://")
    assert not re.search(r"<(?:img|script|link|iframe|form|svg)|url\(|@import", rendered.html)
    assert ("https://u.example" in rendered.text) == (letter.topic is not None)
    assert ("https://u.example" in rendered.html) == (letter.topic is not None)


def test_a_daily_report_says_what_it_is_and_of_which_day() -> None:
    letter = SAMPLES["daily_report"]
    rendered = render(letter, SETTINGS, unsubscribe_url="https://u.example")
    day = letter.model_dump(mode="json")["day"]
    assert re.search(rf"<h1[^>]*>Your report for {day}</h1>", rendered.html)
    assert f"\nYour report for {day} (" in f"\n{rendered.text}"


def test_customers_words_are_not_markup() -> None:
    letter = letter_of(ImportFinished).model_copy(update={"filename": HOSTILE, "problem": HOSTILE})
    html = render(letter, SETTINGS).html
    assert "<script" not in html
    assert "<img" not in html
    assert html.count("&lt;script&gt;") >= 3


def test_a_name_that_a_letter_lacks_is_an_error() -> None:
    template = templates().from_string("{{ letter.nothing }}")
    with pytest.raises(UndefinedError):
        template.render(letter=SAMPLES["welcome"])


@given(st.text(max_size=400))
@settings(max_examples=150, deadline=None)
def test_any_title_is_one_harmless_line(title: str) -> None:
    line = one_line(title)
    assert line == one_line(line)
    assert len(line) <= MAX_LINE_CHARS
    assert not any(unicodedata.category(each) in {"Cc", "Zl", "Zp", "Cs"} for each in line)
    letter = ReportReady(title=title, download_path="/x", expires_at=None, timezone="UTC")
    rendered = render(letter, SETTINGS)
    assert rendered.subject.splitlines() == [rendered.subject]
    assert rendered.html.encode()


def test_nobody_dresses_up_as_another_name() -> None:
    assert one_line("evil\u202egnp.exe\u202c\u2066x") == "evilgnp.exex"


@given(st.integers(min_value=0, max_value=10**12), st.sampled_from(["EUR", "JPY", "KWD"]))
@settings(max_examples=100, deadline=None)
def test_money_loses_no_digit(minor: int, currency: str) -> None:
    digits = re.sub(r"\D", "", money(minor, currency))
    assert int(digits) == minor
