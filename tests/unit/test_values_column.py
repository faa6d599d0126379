"""What spreadsheets, databases and text editors put around a value is no part of it."""

import pytest

from app.imports.values import Code, Column, Parsed, Phone, Text, ValueOptions
from app.imports.values.column import FieldType

NOTHING = ValueOptions()


@pytest.mark.parametrize(
    ("cell", "meant"),
    [
        *(('="00123"', "00123"), ('="say ""hi"""', 'say "hi"'), ('\'="00123"', "00123")),
        *(("'00123", "00123"), ("'+49 170 123", "+49 170 123"), ("'=1+1", "=1+1")),
        *(
            (r"\N", ""),
            ("\u202a+49 170\u202c", "+49 170"),
            ("\ufeff a \u200b", "a"),
            ("\xada", "a"),
        ),
        *(("'t Hooft", "'t Hooft"), ("'90s", "'90s"), ("=1+1", "=1+1"), (r"C:\New", r"C:\New")),
        *(
            ("👩\u200d👩", "👩\u200d👩"),
            ("x\u200cy", "x\u200cy"),
            ('a="b"', 'a="b"'),
            ("NULL", "NULL"),
        ),
    ],
)
def test_a_cell_is_what_was_meant(cell: str, meant: str) -> None:
    column = Column([cell, "other"])
    assert column.cells == [meant, "other"]
    assert column.whole == f"{meant}other"


@pytest.mark.parametrize("kind", [Code(), Phone()])
@pytest.mark.parametrize("cell", ["4.91512E+12", "4,91512E+12", "1E+10"])
def test_digits_that_a_spreadsheet_has_cut_off_are_not_believed(kind: FieldType, cell: str) -> None:
    parsed = kind.parse(Column(["A-1", cell]), NOTHING)
    assert parsed.values == ["A-1", ""]
    assert parsed.faults[1].code == "shortened_number"
    assert cell in parsed.faults[1].message


def test_other_codes_with_an_e_are_codes() -> None:
    assert Code().parse(Column(["1E10", "E+10", "4.9E+1"]), NOTHING) == Parsed(
        ["1E10", "E+10", "4.9E+1"]
    )
    assert Text().parse(Column(["1.5E+10"]), NOTHING) == Parsed(["1.5E+10"])
