"""A column of addresses gets the library's answers, each and all."""

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.imports.values import Column, Email, Parsed, ValueOptions


def library(text: str) -> str | None:
    """The library's answer in lower case; None where it refuses."""
    (cell,) = Column([text]).cells
    try:
        return validate_email(cell.lower(), check_deliverability=False).normalized.lower()
    except EmailNotValidError:
        return None


def parse(*cells: str) -> Parsed:
    return Email().parse(Column(cells), ValueOptions())


def answers(parsed: Parsed) -> list[str | None]:
    return [None if index in parsed.faults else value for index, value in enumerate(parsed.values)]


LONG = "b" * 63
ODD = [
    *(
        "@",
        "a@",
        "@b.co",
        "a@b",
        "a@b.c",
        "a@b.co",
        " Ada.Lovelace@Example.COM ",
        "a..b@example.com",
    ),
    *(".a@example.com", "a.@example.com", "a@example..com", "a@.example.com", "a@example.com."),
    *("a@-example.com", "a@example-.com", "a@ex_ample.com", "a@ex--ample.com", "a@exa--mple.com"),
    *("a@localhost", "a@x.localhost", "a@test.local", "a@invalid", "a@x.test", "a@x.onion"),
    *("a@x.arpa", "a@xarpa.com", "a@arpa", "a@127.0.0.1", "a@[127.0.0.1]", "a@com", "a@123.456"),
    *("a@b.c1", "a@1b.com", "a@b.co1m", "a+tag@example.com", "!#$%&'*+/=?^_`{|}~-@example.com"),
    *('"quoted"@example.com', '"quo ted"@example.com', "Ada <ada@example.com>", "a b@example.com"),
    *("ada@example.com, bob@example.com", "a\t@example.com", "a@exam ple.com", "a@b@example.com"),
    *(
        "<a@example.com",
        '"a@example.com',
        "a@example.com'",
        "mailto:",
        "mailto:a",
        "mailto: a@example.com",
    ),
    *("a\x00b@example.com", "a\n@example.com", "a@exa\nmple.com"),
    *("a@example.com\x1f", "\u00a0a@example.com\u2003", "jürgen@example.com", "ß@example.com"),
    *("j\u0075\u0308rgen@example.com", "a@bücher.example.com", "a@xn--bcher-kva.example.com"),
    *("a@XN--BCHER-KVA.example.com", "a@xn--.com", "a@xn--zz--.com", "a@\uff45xample.com"),
    *("a@example\u3002com", "\u212aelvin@example.com", "İ@example.com", "ΑΣ@example.com"),
    *("伊昭傑@郵件.商務", "😀@example.com", "\udce9a@example.com", "a@\udce9.com"),
    *("\u200ba@example.com", "\ufeffa@example.com", "\u202ea@example.com", "n/a", "-"),
    *("a" * 64 + "@example.com", "a" * 65 + "@example.com", f"a@{LONG}.com", f"a@{LONG}b.com"),
    *("a@" + "b." * 120 + "com", "a@" + "b." * 126 + "com", f"a@{LONG}.{LONG}.{LONG}.com"),
    *("a" * 64 + f"@{LONG}.{LONG}.{'b' * 58}.com", "a" * 64 + f"@{LONG}.{LONG}.{'b' * 62}.com"),
]
PIECES = st.sampled_from(
    [
        *"ab1.@-_+'\"\\()<>,:; \n",
        "xn--",
        "ü",
        "É",
        "\u212a",
        "com",
        ".com",
        "example",
        "\x00",
        "\udc80",
    ]
)
ADDRESS = st.one_of(st.emails(), st.lists(PIECES, max_size=14).map("".join), st.text(max_size=30))


@pytest.mark.parametrize("text", ODD)
def test_an_odd_address_gets_the_librarys_answer(text: str) -> None:
    assert answers(parse(text)) == [library(text)]
    assert answers(parse("a@b.co", text, "c@d.eu")) == ["a@b.co", library(text), "c@d.eu"]


def is_bare(text: str) -> bool:
    """Whether it isn't dressed by a spreadsheet or a mail program: such is read as what is in it."""
    cell = text.strip()
    return bool(cell) and Column([cell]).cells == [cell] and cell[0] not in "'\"<"


CELL = ADDRESS.filter(is_bare)


@settings(max_examples=150, deadline=None)
@given(cells=st.lists(CELL, min_size=1, max_size=5))
def test_a_column_gets_the_librarys_answers(cells: list[str]) -> None:
    assert answers(parse(*cells)) == [library(cell) for cell in cells]


@settings(max_examples=400, deadline=None)
@given(
    labels=st.lists(st.text(alphabet="ab1-x", min_size=1, max_size=5), min_size=1, max_size=4),
    last=st.sampled_from(["", "com", "local", "arpa", "test", "x1", "1x", "onion"]),
)
def test_a_domain_gets_the_librarys_answer(labels: list[str], last: str) -> None:
    address = "a@" + ".".join([*labels, last])
    assert answers(parse(address)) == [library(address)]


def test_all_odd_ones_in_one_column() -> None:
    assert answers(parse(*ODD)) == [library(text) for text in ODD]


@pytest.mark.parametrize(
    "text",
    [
        *("mailto:Ada@example.com", "<ada@example.com>", "'ada@example.com'", '"ada@example.com"'),
        *("'ada@example.com", "\u200bada@example.com", "\u202aada@example.com\u202c"),
        *('="ada@example.com"', "\ufeffada@example.com\u00a0\u200b"),
    ],
)
def test_what_programs_put_around_an_address_is_no_part_of_it(text: str) -> None:
    assert answers(parse(text, "b@c.de")) == ["ada@example.com", "b@c.de"]


def test_empty_cells_say_nothing() -> None:
    parsed = parse("", " ", "A@B.co", "")
    assert (parsed.values, parsed.faults) == (["", "", "a@b.co", ""], {})


def test_a_refusal_quotes_the_value_and_says_why() -> None:
    (fault,) = parse("nobody").faults.values()
    assert fault.code == "invalid_email"
    assert fault.message.startswith("'nobody' is not a valid e-mail address.")
    assert "@-sign" in fault.message


def test_an_address_is_its_own_key() -> None:
    """What is stored is what makes two rows the same, so reading it again changes nothing."""
    good = [value for value in answers(parse(*ODD)) if value]
    assert answers(parse(*good)) == good


@settings(max_examples=300, deadline=None)
@given(
    before=st.lists(st.text(st.sampled_from('ab.@-+ \né"A'), max_size=6), min_size=1, max_size=5)
)
@example(before=["a", ".a"])
@example(before=["a.", "a"])
@example(before=["a", "b..c"])
@example(before=["a", "", "b"])
@example(before=["a@b.co@a", "b"])
@example(before=["a", "a b"])
@example(before=["a" * 61])
@example(before=["a" * 65])
def test_a_column_of_one_domain_that_is_known_gets_them_too(before: list[str]) -> None:
    assert answers(parse("it.is@b.co")) == ["it.is@b.co"]
    cells = [f"{one}@b.co" for one in before]
    cells = [cell for cell in cells if is_bare(cell)] or ["a@b.co"]
    assert answers(parse(*cells)) == [library(cell) for cell in cells]
