"""Numbers as people write them; what could mean two things is not guessed."""

from decimal import Decimal as Exact
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.imports.values import Column, Decimal, Fault, FieldType, Integer, Parsed, ValueOptions


def parse(kind: FieldType, *cells: str, decimal: str | None = None) -> Parsed:
    return kind.parse(Column(cells), ValueOptions.model_validate({"decimal": decimal}))


def one(kind: FieldType, cell: str, decimal: str | None = None) -> Exact | str:
    """The value, or the fault's code."""
    parsed = parse(kind, cell, decimal=decimal)
    fault = parsed.faults.get(0)
    return fault.code if fault else Exact(parsed.values[0])


CLEAR = [
    *(
        ("12", "12"),
        ("12.5", "12.5"),
        ("12,50", "12.5"),
        ("0,123", "0.123"),
        ("1234,567", "1234.567"),
    ),
    *(
        ("1.234,5", "1234.5"),
        ("1,234.56", "1234.56"),
        ("1 234,56", "1234.56"),
        ("1'234.50", "1234.5"),
    ),
    *(("1,234,567", "1234567"), ("1.234.567", "1234567"), ("12,34,567.8", "1234567.8")),
    *(("1\xa0234,5", "1234.5"), ("1\u202f234,5", "1234.5"), ("(1.00)", "-1"), ("-5", "-5")),
    *(("12,-", "12"), ("12.\u2013", "12"), ("1.234,--", "1234"), ("-5,-", "-5")),
    *(("5-", "-5"), ("\u22123", "-3"), ("+5", "5"), (".5", "0.5"), ("5.", "5"), ("007", "7")),
    *(("€ 12,50", "12.5"), ("12.50 EUR", "12.5"), ("USD 3", "3"), ("$1,234.00", "1234")),
    *(("US$ 3.50", "3.5"), ("£-5.00", "-5"), ("-£5.00", "-5"), ("12,50 zł", "12.5"), ("kr 7", "7")),
    *(("\uff11\uff12", "12"), ("1.00000", "1"), ("-0", "0"), ("1 234", "1234"), ("0.00", "0")),
]


@pytest.mark.parametrize(("cell", "value"), CLEAR)
def test_what_can_only_mean_one_number_is_read(cell: str, value: str) -> None:
    assert one(Decimal(), cell) == Exact(value)


@pytest.mark.parametrize("cell", ["1,234", "1.234", "-12,345", "€ 1.000", "1.000"])
def test_what_could_mean_two_numbers_needs_the_option(cell: str) -> None:
    assert one(Decimal(), cell) == "ambiguous_number"
    read = {one(Decimal(), cell, decimal) for decimal in ".,"}
    assert len(read) == 2
    assert all(isinstance(value, Exact) for value in read)
    (fault,) = parse(Decimal(), cell).faults.values()
    assert "decimal" in fault.message


@pytest.mark.parametrize(
    ("cell", "decimal"), [("12.50", ","), ("12,50", "."), ("1.234,5", "."), ("1,234.5", ",")]
)
def test_the_option_is_held_strictly(cell: str, decimal: str) -> None:
    """Else a wrong option would import half of a column, and that half wrong."""
    assert one(Decimal(), cell, decimal) == "invalid_decimal"


NO_NUMBERS = [
    "abc",
    "1.2.3",
    "1,2,3",
    "1e3",
    "(-1)",
    "--1",
    "-",
    "€",
    "EUR",
    "1 2",
    "NaN",
    "inf",
    "1_000",
]


@pytest.mark.parametrize("cell", [*NO_NUMBERS, "\x00", "1\n2", "\udc80", "9" * 200])
def test_what_is_no_number_is_rejected(cell: str) -> None:
    for kind, code in ((Decimal(), "invalid_decimal"), (Integer(), "invalid_integer")):
        assert one(kind, cell) == code
        (fault,) = parse(kind, "1", cell, "2").faults.values()
        assert fault.message.encode().endswith(b".")


def test_digits_are_never_rounded_away() -> None:
    assert one(Decimal(), "1.23456") == "too_many_decimals"
    assert one(Decimal(), "12345678901") == "number_too_large"
    assert one(Decimal(), "9999999999.9999") == Exact("9999999999.9999")
    assert one(Integer(), "2147483648") == "number_out_of_range"
    assert one(Integer(), "-2147483648") == Exact(-2147483648)
    assert one(Integer(0, 9), "10") == "number_out_of_range"


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("12", "12"),
        ("12.0", "12"),
        ("12,00", "12"),
        ("1,234", "1234"),
        ("1.234", "1234"),
        ("-3", "-3"),
    ],
)
def test_a_whole_number_may_be_written_with_decimals_that_say_nothing(
    cell: str, value: str
) -> None:
    assert one(Integer(), cell) == Exact(value)


@pytest.mark.parametrize("cell", ["12.5", "1,23"])
def test_a_part_of_one_is_no_whole_number(cell: str) -> None:
    assert one(Integer(), cell) == "invalid_integer"


def test_a_thousand_or_one_is_not_guessed() -> None:
    assert one(Integer(), "1.000") == "ambiguous_number"
    assert one(Integer(), "1.000", ".") == 1
    assert one(Integer(), "1.000", ",") == 1000


NUMBERS = st.decimals(-9_999_999, 9_999_999, places=4, allow_nan=False, allow_infinity=False)
STYLES = st.sampled_from(
    [(".", ","), (".", " "), (".", "'"), (",", "."), (",", " "), (",", "\xa0")]
)


@settings(deadline=None)
@given(number=NUMBERS, style=STYLES, grouped=st.booleans(), places=st.sampled_from([0, 1, 2, 4]))
def test_whatever_is_written_is_read_back(
    number: Exact, style: tuple[str, str], grouped: bool, places: int
) -> None:
    sign, group = style
    number = round(number, places)
    written = f"{number:,.{places}f}" if grouped else f"{number:.{places}f}"
    written = written.replace(",", "G").replace(".", sign).replace("G", group)
    assert one(Decimal(), written, sign) == number
    guessed = one(Decimal(), written)
    assert guessed in {number, "ambiguous_number"}


CELLS = st.one_of(
    st.text(alphabet="0123456789.,-' ()€", max_size=9),
    st.from_regex(r"-?[0-9]{1,4}([.,][0-9]{1,4})?", fullmatch=True),
)


@settings(deadline=None)
@given(cells=st.lists(CELLS, min_size=1, max_size=5), decimal=st.sampled_from([None, ".", ","]))
@pytest.mark.parametrize("kind", [Decimal(), Integer(), Decimal(6, 2), Integer(0, 99)])
def test_the_quick_way_and_the_close_look_agree(
    kind: Decimal | Integer, cells: list[str], decimal: Literal[".", ","] | None
) -> None:
    parsed = parse(kind, *cells, decimal=decimal)
    for index, cell in enumerate(Column(cells).cells):
        if not cell:
            assert parsed.values[index] == ""
            continue
        closer = kind._closer(cell, decimal)
        if isinstance(closer, Fault):
            assert parsed.faults[index] == closer
        else:
            assert Exact(parsed.values[index]) == Exact(closer)


def test_a_column_shows_its_decimal_sign() -> None:
    kind = Decimal()
    assert kind.evidence(["1,234", "12,50"]) == {("decimal", ",")}
    assert kind.evidence(["1,234", "12.50"]) == {("decimal", ".")}
    assert kind.evidence(["1,234", "12", "abc"]) == set()
    assert len(kind.evidence(["1,50", "1.50"])) == 2


def test_only_money_is_known_by_its_values() -> None:
    assert Decimal().enough(["€ 1", "2.50 EUR"])
    assert not Decimal().enough(["1.50", "2.50"])
    assert not Integer().enough(["1", "2", "3"])
