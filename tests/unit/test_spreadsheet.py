"""No cell that we write is taken for a formula, and every cell can be had back."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tabular.spreadsheet import csv_text, guarded, unguarded

ODD = st.text(
    alphabet=st.sampled_from("=+-@'\"\t\r\n ,;a1.(\u3000\xa0\u200b\ufeff\uff1d\uff0b\uff0d\uff20")
)


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        "=cmd|' /C calc'!A0",
        "+a",
        "-a",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "  =1",
        "\u3000=1",
        "\ufeff=1",
        "\u200b@x",
        "\uff1d1",
        "\uff0ba",
        "\uff0da",
        "\uff20x",
        "+1+cmd",
        "-2+3",
        "-",
        "+49=1",
    ],
)
def test_what_may_be_a_formula_is_guarded(cell: str) -> None:
    assert guarded(cell) == f"'{cell}"


@pytest.mark.parametrize(
    "cell",
    ["", "a", "a=b", "-5", "+49 30 1234-5", "-1.234,50", "(-5)", "+1 (555) 010", "'", "\xe4"],
)
def test_plain_text_numbers_and_phone_numbers_stay(cell: str) -> None:
    assert guarded(cell) == cell


@given(cell=ODD | st.text())
def test_every_cell_can_be_had_back(cell: str) -> None:
    assert unguarded(guarded(cell)) == cell


@given(cell=ODD)
def test_what_is_written_never_begins_a_formula(cell: str) -> None:
    ((read,),) = csv.reader(io.StringIO(csv_text([[cell]]), newline=""))
    assert read == guarded(cell)
    assert read[:1] not in {"\t", "\r", "\n"}
    assert read.lstrip(" \u3000\xa0\u200b\ufeff\t\r\n")[:1] not in {"=", "@", "\uff1d", "\uff20"}
