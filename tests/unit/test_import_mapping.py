"""Which column feeds which field: by name, by content, and as the caller says."""

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Unprocessable
from app.imports import statements
from app.imports.mapping import check_mapping, header_fingerprint, propose
from app.imports.targets import TARGETS, Target
from app.imports.values import ValueOptions

CONTACTS, PRODUCTS = TARGETS["contacts"], TARGETS["products"]
ADDRESSES = ["ada@example.com", "bob@example.org", "cyd@example.net"]


def fields(columns: list[str], *rows: list[str], target: str = "contacts") -> list[str]:
    return propose(TARGETS[target], columns, rows).fields


@pytest.mark.parametrize(
    ("column", "field"),
    [
        *(
            ("Email", "email"),
            ("E-Mail Address", "email"),
            (" mail ", "email"),
            ("E-mailadres", "email"),
        ),
        *(("Correo electrónico", "email"), ("COURRIEL", "email"), ("e_mail", "email")),
        *(("FIRST NAME", "first_name"), ("Given name", "first_name"), ("firstName", "first_name")),
        *(("Vorname", "first_name"), ("Prenom", "first_name"), ("Voornaam", "first_name")),
        *(("Surname", "last_name"), ("Familienname", "last_name"), ("Apellidos", "last_name")),
        *(("Organisation", "company"), ("Société", "company"), ("Azienda", "company")),
        *(
            ("Tel.", "phone"),
            ("Téléphone", "phone"),
            ("Rufnummer", "phone"),
            ("Telemóvel", "phone"),
        ),
        *(
            ("Work E-Mail", "email"),
            ("customer_first_name", "first_name"),
            ("companyPhone", "phone"),
        ),
        *(
            ("Tél. portable", "phone"),
            ("Phone #", "phone"),
            ("Förnamn", "first_name"),
            ("Nazwisko", "last_name"),
        ),
        *(
            ("Organization Name", "company"),
            ("E-mail (work)", "email"),
            ("\u200bEmail\ufeff", "email"),
        ),
        *(
            ("First and Last Name", ""),
            ("Vor- und Nachname", ""),
            ("Nom et prénom", ""),
            ("Nombre y apellidos", ""),
        ),
        *(("Plan", ""), ("メール", ""), ("", ""), ("Email opt-in", ""), ("Fax", ""), ("Intel", "")),
    ],
)
def test_common_names_of_columns_are_known(column: str, field: str) -> None:
    assert fields([column]) == [field]


def test_the_first_of_two_columns_with_one_meaning_gets_the_field() -> None:
    assert fields(["mail", "e-mail", "tel", "phone"]) == ["email", "", "phone", ""]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["Handle", "Title", "Variant SKU", "Variant Inventory Qty", "Variant Price"], ["", "name", "sku", "stock", "price"]),
        (["seller-sku", "item-name", "price", "quantity"], ["sku", "name", "price", "stock"]),
        (["SKU", "Name", "Description", "In stock?", "Stock"], ["sku", "name", "", "", "stock"]),
        (["Item #", "Description", "Unit Price (USD)"], ["sku", "name", "price"]),
        (["Art.-Nr.", "Artikel", "Einzelpreis (EUR)", "Bestand"], ["sku", "name", "price", "stock"]),
        (["Réf.", "Désignation", "Prix HT", "Qté", "Devise"], ["sku", "name", "price", "stock", "currency"]),
    ],
)  # fmt: skip
def test_the_columns_of_shops_are_known(columns: list[str], expected: list[str]) -> None:
    assert fields(columns, target="products") == expected


def test_a_name_is_the_last_name_only_beside_the_first() -> None:
    assert fields(["Name", "Vorname"]) == ["last_name", "first_name"]
    assert fields(["Name", "First Name"]) == ["", "first_name"]
    assert fields(["Vorname", "Name", "Nachname"]) == ["first_name", "", "last_name"]


def test_a_fax_is_no_phone_whatever_its_numbers_look_like() -> None:
    rows = [[address, f"+44 20 7946 09{n:02d}"] for n, address in enumerate(ADDRESSES)]
    assert fields(["Mail", "Kontakt"], *rows) == ["email", "phone"]
    assert fields(["Mail", "Fax"], *rows) == ["email", ""]


def test_a_whole_name_goes_before_a_part_of_one() -> None:
    assert fields(["Billing e-mail", "E-mail"]) == ["", "email"]


def test_a_column_of_addresses_is_the_address_whatever_it_is_called() -> None:
    rows = [[f"C-{n}", address, "x"] for n, address in enumerate(ADDRESSES)]
    proposal = propose(CONTACTS, ["Nr", "Kontakt", "Anmerkung"], rows)
    assert proposal.fields == ["", "email", ""]
    guess = proposal.guesses[1]
    assert 0.5 < guess.confidence < 0.9
    assert guess.reason


def test_a_column_that_is_only_called_so_gives_way() -> None:
    rows = [["yes", address] for address in ADDRESSES]
    assert fields(["Email", "Kontakt"], *rows) == ["", "email"]
    proposal = propose(CONTACTS, ["Email"], [["yes"], ["no"]])
    assert (proposal.fields, proposal.guesses[0].confidence) == (["email"], 0.3)


def test_values_that_look_right_make_it_certain() -> None:
    rows = [[address] for address in ADDRESSES]
    assert propose(CONTACTS, ["Email"], rows).guesses[0].confidence == 1.0
    assert propose(CONTACTS, ["Email"], []).guesses[0].confidence < 1.0


def test_phone_numbers_are_known_dates_and_amounts_are_not_taken_for_them() -> None:
    columns = ["Email", "since", "total", "reach", "ref"]
    rows = [
        [address, f"0{day}/03/2024", "10 000 000", f"+44 20 7946 000{day}", f"0001234{day}"]
        for day, address in enumerate(ADDRESSES, 1)
    ]
    assert fields(columns, *rows) == ["email", "", "", "phone", ""]


def test_prices_and_currencies_are_known_by_their_values() -> None:
    rows = [[f"A{n}", f"€ {n},50", "EUR", f"{n}.5"] for n in range(4)]
    found = fields(["Artikel-Nr.", "EK", "Cur", "kg"], *rows, target="products")
    assert found == ["sku", "price", "currency", ""]


def test_products_names_in_several_languages() -> None:
    columns = ["Artikelnummer", "Bezeichnung", "Preis", "Währung", "Lagerbestand", "Farbe"]
    expected = ["sku", "name", "price", "currency", "stock", ""]
    assert fields(columns, target="products") == expected
    assert fields(["Código", "Nombre", "Precio", "Moneda", "Existencias"], target="products") == (
        ["sku", "name", "price", "currency", "stock"]
    )
    assert propose(PRODUCTS, columns).guesses[5].ignored
    assert not propose(CONTACTS, ["Farbe"]).guesses[0].ignored


def test_columns_of_a_rejects_file_are_left_out() -> None:
    proposal = propose(CONTACTS, ["email", "_row", "_column", "_error"])
    assert proposal.fields == ["email", "", "", ""]
    assert [guess.ignored for guess in proposal.guesses] == [False, True, True, True]


def test_a_row_of_another_width_is_no_sample() -> None:
    assert fields(["a", "b"], [ADDRESSES[0]], ["x", ADDRESSES[0]]) == ["", "email"]


def test_what_the_sample_leaves_no_doubt_about_is_decided_once() -> None:
    columns = ["sku", "price", "stock"]
    rows = [["a", "1,234", "1"], ["b", "12,50", "2"]]
    assert propose(PRODUCTS, columns, rows).options.decimal == ","
    assert propose(PRODUCTS, columns, rows[:1]).options.decimal is None
    both = [*rows, ["c", "12.50", "3"]]
    assert propose(PRODUCTS, columns, both).options.decimal is None
    given = ValueOptions(decimal=".", short_rows="pad")
    assert propose(PRODUCTS, columns, rows, given).options == given


def test_the_callers_mapping_goes_before_the_proposal() -> None:
    columns = ["email", "Work  E-Mail", "Nom"]
    mapping = {"work e-mail": "email", "Nom": "first_name"}
    proposed = propose(CONTACTS, columns).fields
    assert check_mapping(CONTACTS, columns, proposed, mapping) == ["", "email", "first_name"]
    assert check_mapping(CONTACTS, columns, proposed, {}) == proposed


def test_a_mapping_to_nothing_keeps_the_column_as_an_attribute() -> None:
    columns = ["email", "phone"]
    assert check_mapping(CONTACTS, columns, ["email", "phone"], {"phone": ""}) == ["email", ""]


@pytest.mark.parametrize(
    ("columns", "mapping"),
    [
        (["email"], {"e-post": "email"}),
        (["email"], {"email": "fax"}),
        (["a", "b"], {"a": "email", "b": "email"}),
        (["a", "A"], {"a": "email"}),
        (["email", "_error"], {"_error": "company"}),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(
    columns: list[str], mapping: dict[str, str]
) -> None:
    with pytest.raises(Unprocessable) as refused:
        check_mapping(CONTACTS, columns, propose(CONTACTS, columns).fields, mapping)
    assert refused.value.code == "invalid_mapping"


@pytest.mark.parametrize(
    ("target", "code"), [("contacts", "no_email_column"), ("products", "no_key_column")]
)
def test_without_a_key_there_is_no_import(target: str, code: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        check_mapping(TARGETS[target], ["Colour"], [""], {})
    assert refused.value.code == code
    assert "'Colour'" in str(refused.value)


NAMES = st.one_of(st.sampled_from(["email", "E-mail", "first", "tel", "Phone", ""]), st.text())


@given(columns=st.lists(NAMES, max_size=8), cells=st.lists(NAMES, max_size=8))
def test_no_field_is_ever_fed_by_two_columns(columns: list[str], cells: list[str]) -> None:
    taken = [field for field in fields(columns, cells) if field]
    assert len(taken) == len(set(taken))
    assert set(taken) <= set(CONTACTS.by_name)


def test_a_header_is_known_again() -> None:
    known = header_fingerprint(["Email", "First Name"])
    assert known == header_fingerprint([" email", "FIRST  name"])
    assert known != header_fingerprint(["First Name", "Email"])
    assert known != header_fingerprint(["Email First Name"])
    assert len(known) == 64
    assert header_fingerprint(["\udc80"])


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
def test_a_targets_statements_are_written_once(target: Target) -> None:
    assert statements.add(target, ("email",)) is statements.add(target, ("email",))


@pytest.mark.parametrize("name", ["a " * 5000, "(" * 10_000, "a" + " " * 9_000 + "b)", "#" * 5000])
def test_the_longest_names_are_looked_at_in_no_time(name: str) -> None:
    before = process_time()
    assert set(fields([f"{name}{number}" for number in range(50)])) == {""}
    assert process_time() - before < 2
