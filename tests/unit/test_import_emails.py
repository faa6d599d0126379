"""The fast check of an address gives the library's own answer, always."""

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.imports.emails import InvalidEmail, check_email, email_key


def library(text: str) -> str | None:
    """The library's answer in lower case; None where it refuses."""
    try:
        return validate_email(text.strip().lower(), check_deliverability=False).normalized.lower()
    except EmailNotValidError:
        return None


def ours(text: str) -> str | None:
    try:
        return check_email(text)
    except InvalidEmail:
        return None


ODD = [
    "",
    "@",
    "a@",
    "@b.co",
    "a@b",
    "a@b.c",
    "a@b.co",
    " Ada.Lovelace@Example.COM ",
    "a..b@example.com",
    ".a@example.com",
    "a.@example.com",
    "a@example..com",
    "a@.example.com",
    "a@example.com.",
    "a@-example.com",
    "a@example-.com",
    "a@ex_ample.com",
    "a@ex--ample.com",
    "a@exa--mple.com",
    "a@localhost",
    "a@test.local",
    "a@invalid",
    "a@x.test",
    "a@x.onion",
    "a@127.0.0.1",
    "a@[127.0.0.1]",
    "a@[IPv6:::1]",
    "a@1.2.3.4.com",
    "a@com",
    "a@123.456",
    "a@b.c1",
    "a+tag@example.com",
    "!#$%&'*+/=?^_`{|}~-@example.com",
    '"quoted"@example.com',
    '"quo ted"@example.com',
    "Ada <ada@example.com>",
    "ada@example.com, bob@example.com",
    "a b@example.com",
    "a\t@example.com",
    "a@exam ple.com",
    "a@b@example.com",
    "mailto:a@example.com",
    "a\x00b@example.com",
    "a@exa\x00mple.com",
    "a\n@example.com",
    "a@example.com\x1f",
    "\u00a0a@example.com\u2003",
    "jürgen@example.com",
    "j\u0075\u0308rgen@example.com",
    "a@bücher.example.com",
    "a@xn--bcher-kva.example.com",
    "a@XN--BCHER-KVA.example.com",
    "a@xn--.com",
    "a@xn--zz--.com",
    "a@\uff45xample.com",
    "a@example\u3002com",
    "\u212aelvin@example.com",
    "İ@example.com",
    "ß@example.com",
    "a@straße.example.com",
    "伊昭傑@郵件.商務",
    "😀@example.com",
    "a@😀.example.com",
    "\udce9a@example.com",
    "a@\udce9.com",
    "\u200ba@example.com",
    "\ufeffa@example.com",
    "\u202ea@example.com",
    "a" * 64 + "@example.com",
    "a" * 65 + "@example.com",
    "a@" + "b" * 63 + ".com",
    "a@" + "b" * 64 + ".com",
    "a@" + "b." * 120 + "com",
    "a@" + "b." * 126 + "com",
    "a" * 64 + "@" + ("b" * 61 + ".") * 3 + "com",
    "a" * 64 + "@" + ("b" * 61 + ".") * 3 + "comm",
]
PIECES = st.sampled_from(
    [
        *"ab.@-_+'\"\\()<>,:; ",
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


@pytest.mark.parametrize("text", ODD)
def test_an_odd_address_gets_the_librarys_answer(text: str) -> None:
    assert ours(text) == library(text)


@given(text=st.lists(PIECES, max_size=14).map("".join))
@settings(max_examples=400)
def test_any_mix_of_pieces_gets_the_librarys_answer(text: str) -> None:
    assert ours(text) == library(text)


@given(text=st.emails())
@example(text="a@b.co")
def test_any_address_gets_the_librarys_answer(text: str) -> None:
    assert ours(text) == library(text)


@given(text=st.text(max_size=80))
def test_any_text_gets_the_librarys_answer(text: str) -> None:
    assert ours(text) == library(text)


@given(text=st.one_of(st.emails(), st.lists(PIECES, max_size=12).map("".join)))
@settings(max_examples=300)
def test_what_makes_two_addresses_equal_is_what_is_stored(text: str) -> None:
    """The planner compares keys, the importer stores addresses: if they differed, one chunk could hold
    an address twice.
    """
    address = ours(text)
    assert address is None or email_key(text) == address


@pytest.mark.parametrize("text", ODD)
def test_an_odd_address_has_the_key_of_what_is_stored(text: str) -> None:
    address = ours(text)
    assert address is None or email_key(text) == address


def test_a_refusal_says_why() -> None:
    with pytest.raises(InvalidEmail, match="@-sign"):
        check_email("nobody")


def test_equal_texts_that_are_no_addresses_have_equal_keys() -> None:
    assert email_key(" N/A ") == email_key("n/a")
    assert email_key("ü") == email_key(" Ü ")
