"""Phone numbers get the library's answers, or stay as they are written."""

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.imports.values import Column, Parsed, Phone, ValueOptions
from app.imports.values.phone_plain import plain_numbers

CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)


def parse(*cells: str, region: str | None = None) -> Parsed:
    return Phone().parse(Column(cells), ValueOptions(phone_region=region))


def library(text: str, region: str | None = None) -> str | None:
    """E.164, or None where the library finds no possible number."""
    try:
        number = phonenumbers.parse(text.strip(), region)
    except phonenumbers.NumberParseException:
        return None
    possible = phonenumbers.is_possible_number_with_reason(number)
    if possible != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def answers(parsed: Parsed) -> list[str | None]:
    return [None if index in parsed.faults else value for index, value in enumerate(parsed.values)]


@st.composite
def numbers(draw: st.DrawFn) -> str:
    code = draw(st.sampled_from(CODES))
    digits = draw(st.text(alphabet="0123456789", min_size=1, max_size=13))
    at = draw(st.integers(0, len(digits)))
    gap, sign = draw(st.sampled_from(["", " ", "-", " (0)"])), draw(st.sampled_from(["", " ", "."]))
    return f"+{code}{gap}{digits[:at]}{sign}{digits[at:]}"


@settings(max_examples=150, deadline=None)
@given(cells=st.lists(numbers(), min_size=1, max_size=6))
def test_a_column_gets_the_librarys_answers(cells: list[str]) -> None:
    assert answers(parse(*cells)) == [library(cell) for cell in cells]


REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
WRITTEN = st.text(alphabet="0123456789 ", min_size=1, max_size=13)


@settings(max_examples=150, deadline=None)
@given(region=st.sampled_from(REGIONS), data=st.data())
def test_a_column_of_a_region_gets_the_librarys_answers(region: str, data: st.DataObject) -> None:
    cells = [cell for cell in data.draw(st.lists(WRITTEN, min_size=1, max_size=6)) if cell.strip()]
    example = phonenumbers.example_number(region)
    assert example is not None
    national = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.NATIONAL)
    digits = phonenumbers.national_significant_number(example)
    cells += [national, digits, f"0{digits}", f"{example.country_code}{digits}", f"00{digits}"]
    cells += [digits[:-1] + data.draw(st.sampled_from("0123456789")), digits[1:], f"1{digits}"]
    assert answers(parse(*cells, region=region)) == [library(cell, region) for cell in cells]


@pytest.mark.parametrize("region", ["GB", "DE", "FR", "US", "IT", "ES", "NL"])
def test_usual_numbers_of_large_countries_need_no_library(region: str) -> None:
    example = phonenumbers.example_number(region)
    assert example is not None
    national = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.NATIONAL)
    assert plain_numbers(Column([national]), region) == [library(national, region)]


@pytest.mark.parametrize("code", CODES)
def test_every_countrys_example_is_taken(code: int) -> None:
    """And by the quick way, where the library strips no national prefix."""
    for region in phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code]:
        example = (
            phonenumbers.example_number_for_non_geo_entity(code)
            if region == "001"
            else phonenumbers.example_number(region)
        )
        assert example is not None
        for form in (0, 1, 3):
            text = phonenumbers.format_number(example, form).removeprefix("tel:")
            assert answers(parse(text)) == [library(text)]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("+44 20 7946 0958", "+442079460958"),
        ("(+44) 20 7946-0958", "+442079460958"),
        ("+44 (0)20 7946 0958", "+442079460958"),
        ("+442079460958 ext. 12", "+442079460958 ext. 12"),
        ("+39 02 1234 5678", "+390212345678"),
        ("+1 (650) 253-0000", "+16502530000"),
        ("\uff0b81 3-1234-5678", "+81312345678"),
    ],
)
def test_a_number_with_its_country_is_normalized(text: str, kept: str) -> None:
    assert answers(parse(text)) == [kept]
    assert answers(parse(kept)) == [kept]


@pytest.mark.parametrize("text", ["1", "020 7946 0958", "ask Bob", "0044 1", "a+b", "n/a", "x\ny"])
def test_without_a_country_text_is_kept_as_it_is_written(text: str) -> None:
    assert answers(parse(text)) == [text]
    assert answers(parse(text, "+44 20 7946 0958", "")) == [text, "+442079460958", ""]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("+44 1", "too few digits"),
        ("+44 20 7946 0958 0958 0958", "too many digits"),
        ("+999 1234567", "calling code"),
        ("+", "such as +44"),
        ("+44 20 7946 0958 / +44 20 7946 0959", "such as +44"),
        ("+442079460958/x2", "such as +44"),
        ("+" + "1" * 300, "such as +44"),
    ],
)
def test_what_can_be_no_number_is_rejected_with_the_reason(text: str, why: str) -> None:
    (fault,) = parse(text).faults.values()
    assert fault.code == "invalid_phone"
    assert why in fault.message


@pytest.mark.parametrize(
    ("text", "kept"),
    [("020 7946 0958", "+442079460958"), ("+1 650 253 0000", "+16502530000"), ("7946", None)],
)
def test_with_a_region_numbers_without_a_country_are_read_as_there(
    text: str, kept: str | None
) -> None:
    assert answers(parse(text, region="GB")) == [kept]


def test_a_region_that_is_none_is_refused() -> None:
    assert ValueOptions(phone_region="gb").phone_region == "GB"
    with pytest.raises(ValidationError, match="such as GB"):
        ValueOptions(phone_region="ZZ")


@pytest.mark.parametrize(
    ("text", "looks"),
    [
        ("+44 20 7946 0958", True),
        ("(650) 253-0000", True),
        ("020 79460958", True),
        ("2024-01-02", False),
        ("01/02/2024", False),
        ("10 000 000", False),
        ("00012345", False),
        ("1234567", False),
        ("12.50", False),
        ("a@b.co", False),
    ],
)
def test_what_looks_like_a_number(text: str, looks: bool) -> None:
    assert Phone().looks_like(text) is looks
