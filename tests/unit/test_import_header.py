"""The header row: what is refused, under which code, and which column feeds which field."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidRequest, Unprocessable, UnsupportedMediaType
from app.imports.header import FIELDS, check_text, map_columns, read_header
from app.imports.records import BOM

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


@pytest.mark.parametrize(
    ("head", "error", "code"),
    [
        (b"", Unprocessable, "empty_file"),
        (BOM, Unprocessable, "empty_file"),
        (b"\r\n \n\n", Unprocessable, "empty_file"),
        (b",,\n,,\n", Unprocessable, "no_header"),
        (b'"email,name\n', Unprocessable, "no_header"),
        (b"ada@example.com,Ada\n", Unprocessable, "no_header"),
        (b"\nAda, ada@example.com \n", Unprocessable, "no_header"),
        (b"name,phone\nAda,1\n", Unprocessable, "no_email_column"),
        (b"email" + b",x" * 2000 + b"\n", Unprocessable, "too_many_columns"),
        (b"email," + b"x" * (1024 * 1024), Unprocessable, "line_too_long"),
        (PNG, UnsupportedMediaType, "binary_file"),
        (b"email,name\na@b.c,\x00\n", UnsupportedMediaType, "binary_file"),
        ("email,name\n".encode("utf-16"), UnsupportedMediaType, "binary_file"),
        (b"PK\x03\x04" + b"x" * 50, UnsupportedMediaType, "binary_file"),
        (b"%PDF-1.7\n", UnsupportedMediaType, "binary_file"),
        (b"\x1f\x8b\x08", UnsupportedMediaType, "binary_file"),
        ("email,prénom\n".encode("latin-1"), UnsupportedMediaType, "not_utf8"),
        (b"email,name\n\xc3", UnsupportedMediaType, "not_utf8"),
        (b"email," + b"x" * 9000 + b",caf\xe9\n", UnsupportedMediaType, "not_utf8"),
        (b"email," + b"x" * 9000 + b",\x00\n", UnsupportedMediaType, "binary_file"),
    ],
)
def test_a_file_without_a_usable_header_is_refused_with_a_code_of_its_own(
    head: bytes, error: type[InvalidRequest], code: str
) -> None:
    with pytest.raises(error) as refused:
        read_header(head)
    assert refused.value.code == code
    assert str(refused.value).endswith((".", "last_name", "phone'", "'"))


def test_the_header_may_come_after_a_byte_order_mark_and_empty_lines() -> None:
    header = read_header(BOM + b"\r\n,\r\nE-mail,Name\r\n")
    assert header.columns == ["E-mail", "Name"]
    assert header.fields == ["email", ""]


def test_a_character_that_the_first_8_kib_cut_in_two_is_no_fault() -> None:
    head = b"email,name\n" + b"x" * (8191 - 11) + "é".encode() + b"\n"
    assert head[:8192].endswith(b"\xc3")
    assert read_header(head).columns == ["email", "name"]


def test_a_character_that_the_first_block_cuts_in_two_is_no_fault() -> None:
    check_text(b"email,pr\xc3", more=True)
    with pytest.raises(UnsupportedMediaType):
        check_text(b"email,pr\xc3,x", more=True)


@pytest.mark.parametrize(
    ("column", "field"),
    [
        ("Email", "email"),
        ("E-Mail Address", "email"),
        (" mail ", "email"),
        ("FIRST NAME", "first_name"),
        ("Given name", "first_name"),
        ("Surname", "last_name"),
        ("Organisation", "company"),
        ("Tel.", "phone"),
        ("Plan", ""),
        ("メール", ""),
        ("", ""),
    ],
)
def test_common_names_of_columns_are_known(column: str, field: str) -> None:
    assert map_columns([column], {}) == [field]


def test_the_first_of_two_columns_with_one_meaning_gets_the_field() -> None:
    assert map_columns(["mail", "e-mail", "tel", "phone"], {}) == ["email", "", "phone", ""]


def test_a_mapping_goes_before_the_columns_names() -> None:
    columns = ["email", "Work  E-Mail", "Nom"]
    mapping = {"work e-mail": "email", "Nom": "last_name"}
    assert map_columns(columns, mapping) == ["", "email", "last_name"]


def test_a_mapping_to_nothing_keeps_the_column_as_an_attribute() -> None:
    assert map_columns(["email", "phone"], {"phone": ""}) == ["email", ""]


@pytest.mark.parametrize(
    ("columns", "mapping"),
    [
        (["email"], {"e-post": "email"}),
        (["email"], {"email": "fax"}),
        (["a", "b"], {"a": "email", "b": "email"}),
        (["a", "A"], {"a": "email"}),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(
    columns: list[str], mapping: dict[str, str]
) -> None:
    with pytest.raises(Unprocessable) as refused:
        map_columns(columns, mapping)
    assert refused.value.code == "invalid_mapping"


@given(
    columns=st.lists(
        st.one_of(st.sampled_from(["email", "E-mail", "first", "tel", "Phone", ""]), st.text()),
        max_size=8,
    )
)
def test_no_field_is_ever_fed_by_two_columns(columns: list[str]) -> None:
    taken = [field for field in map_columns(columns, {}) if field]
    assert len(taken) == len(set(taken))
    assert set(taken) <= set(FIELDS)
