"""Values out of a list, yes and no, currencies, and codes."""

import pytest

from app.imports.values import (
    Boolean,
    Choice,
    Code,
    Column,
    Currency,
    FieldType,
    Text,
    ValueOptions,
    shown,
)


def one(kind: FieldType, cell: str) -> str:
    """The value, or the fault's message."""
    parsed = kind.parse(Column([cell]), ValueOptions())
    return parsed.faults[0].message if parsed.faults else parsed.values[0]


def test_a_choice_is_taken_in_any_case_and_under_any_of_its_names() -> None:
    plans = Choice({"free": [], "paid": ["pro", "Business  Plan"]})
    assert [one(plans, cell) for cell in ("FREE", "Pro", "business plan", "")] == [
        *("free", "paid", "paid", "")
    ]
    assert one(plans, "gold") == "'gold' is none of: free, paid."


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("Yes", "true"),
        ("NEIN", "false"),
        ("1", "true"),
        ("0", "false"),
        ("Sí", "true"),
        ("não", "false"),
    ],
)
def test_yes_and_no_in_several_languages(cell: str, value: str) -> None:
    assert one(Boolean(), cell) == value


def test_maybe_is_neither() -> None:
    assert "neither yes nor no" in one(Boolean(), "maybe")


def test_a_currency_is_its_code_in_upper_case() -> None:
    kind = Currency()
    assert [one(kind, cell) for cell in ("eur", "Usd", "€", "£")] == ["EUR", "USD", "EUR", "GBP"]
    assert "several currencies" in one(kind, "$")
    assert "ISO 4217" in one(kind, "XYZ")
    assert (kind.looks_like("USD"), kind.looks_like("usd"), kind.looks_like("THE")) == (
        *(True, False, False),
    )


def test_text_is_trimmed_and_its_spaces_are_spaces() -> None:
    assert one(Text(), "\xa0Café\xa0Noir\u2003") == "Café Noir"


def test_two_ways_to_write_a_code_are_one() -> None:
    kind = Code()
    assert one(kind, "\ufeffCafe\u0301-1\u200b ") == "Café-1"
    assert one(kind, "a-1") != one(kind, "A-1")


def test_what_a_message_quotes_is_short_and_plain() -> None:
    assert shown("x" * 100) == f"'{'x' * 60}…'"
    assert shown("a\x00b\udc80\n") == "'a\ufffdb\ufffd\ufffd'"
