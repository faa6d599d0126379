"""The whole way of a file: dropped, understood, corrected, previewed, run, watched, retried, undone."""

import csv
import io
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Site, picture
from tests.support.customers import Customer

pytestmark = pytest.mark.long

HEADER = "E-Mail;Vorname;Nachname;Firmenname;Telefon;Notiz"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Semicolons and a Windows code page; two of twelve rows are at fault."""
    rows = [
        f"anna{n}@example.com;Änne {n};Müller;Mühle & Söhne;+49 761 {n}0000;" for n in range(10)
    ]
    rows[3] = "anna3.example.com;Änne 3;Müller;;;ohne Klammeraffe"
    rows[7] = ";Änne 7;Müller;;;ohne Adresse"
    path = tmp_path / "Kundenliste März.csv"
    path.write_text("\r\n".join([HEADER, *rows, ""]), encoding="cp1252", newline="")
    return path


def step(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def gauges(page: Page) -> dict[str, str]:
    """The figures of an import's page."""
    parts = page.locator(".gauges > div")
    return {one.locator("dt").inner_text(): one.locator("dd").inner_text() for one in parts.all()}


def test_a_file_from_drop_to_undo(
    page: Page, table: Path, site: Site, customer: Customer, tmp_path: Path
) -> None:
    picture(page, "1-start")
    page.get_by_label("Choose a file").set_input_files(table)
    expect(step(page, "File")).to_contain_text("cp1252")
    expect(step(page, "File")).to_contain_text("semicolon")
    expect(page.get_by_label("E-Mail goes to")).to_have_value("email")
    expect(page.get_by_label("Notiz goes to")).to_have_value("")
    rows = step(page, "Preview").locator("tbody tr")
    expect(rows.filter(has_text="Änne 0")).to_contain_text("new")
    expect(step(page, "Preview").locator(".why").first).to_contain_text("@-sign")
    page.get_by_role("radio", name="rejected").check()
    expect(rows.filter(has_text="Änne 0")).to_have_count(0)
    expect(page.locator("td.at-fault")).to_have_text(["anna3.example.com", ""])
    picture(page, "2-preview")

    page.get_by_role("button", name="Run the import").click()
    page.wait_for_url("**/console/imports/*")
    expect(page.locator(".flow-state")).to_have_text("Done")
    assert gauges(page) == {
        "Rows": "10",
        "New": "8",
        "Changed": "0",
        "Same": "0",
        "Rejected": "2",
    }
    picture(page, "3-done")
    first = page.url

    with page.expect_download() as download:
        page.get_by_role("link", name="Rejected rows (CSV)").click()
    rejected = list(csv.reader(io.StringIO(download.value.path().read_text("utf-8-sig"))))
    assert [line[-3] for line in rejected[1:]] == ["5", "9"]
    for line in rejected[1:]:
        line[0] = f"corrected{line[-3]}@example.com"
    corrected = tmp_path / "corrected.csv"
    with corrected.open("w", newline="") as out:
        csv.writer(out).writerows(rejected)
    page.get_by_label("Send the corrected file").set_input_files(corrected)
    page.wait_for_url(lambda url: "/console/imports/" in url and url != first)
    expect(page.locator(".flow-state")).to_have_text("Done")
    assert (gauges(page)["New"], gauges(page)["Rejected"]) == ("2", "0")
    expect(page.get_by_role("link", name="the import before")).to_be_visible()

    page.goto(first)
    page.get_by_role("button", name="Undo the import").click()
    dialog = page.get_by_role("dialog", name="Undo the import?")
    dialog.get_by_role("button", name="Go back").click()
    expect(dialog).to_have_count(0)
    page.get_by_role("button", name="Undo the import").click()
    dialog.get_by_role("button", name="Undo the import").click()
    expect(page.locator(".flow-state")).to_have_text("Undone")
    expect(page.locator(".note").first).to_contain_text("8 new rows removed")
    picture(page, "4-undone")
    with site.client(customer.key) as api:
        left = {one["email"] for one in api.get("/v1/contacts").json()["items"]}
    assert left == {"corrected5@example.com", "corrected9@example.com"}


def test_what_the_person_decides_is_what_happens(
    page: Page, tmp_path: Path, site: Site, customer: Customer
) -> None:
    path = tmp_path / "people.csv"
    path.write_text("Who,Where\nada@example.com,Ada\nbob@example.com,Bob\n")
    page.get_by_label("Choose a file").set_input_files(path)
    page.get_by_label("Where goes to").focus()
    page.get_by_label("Where goes to").select_option("first_name")
    expect(step(page, "Preview")).to_contain_text("→ First name")
    expect(page.get_by_label("Where goes to")).to_be_focused()
    page.get_by_label("Dry run").check()
    page.get_by_role("button", name="Start the dry run").click()
    page.wait_for_url("**/console/imports/*")
    expect(page.locator(".flow-state")).to_have_text("Dry run done")
    assert gauges(page)["Would be new"] == "2"
    expect(page.get_by_role("button", name="Undo the import")).to_have_count(0)
    with site.client(customer.key) as api:
        assert api.get("/v1/contacts").json()["items"] == []

    page.goto("/console/imports")
    expect(page.get_by_role("row", name="people.csv dry run")).to_contain_text("Done")
    page.get_by_label("Choose a file").set_input_files(path)
    expect(page.get_by_label("Where goes to")).to_have_value("first_name")
    page.get_by_label("Only update").check()
    expect(step(page, "Preview").locator(".why")).to_have_count(2)
    page.get_by_label("Insert and update").check()
    expect(step(page, "Preview").locator(".why")).to_have_count(0)
    page.get_by_role("button", name="Run the import").click()
    page.wait_for_url("**/console/imports/*")
    expect(page.locator(".flow-state")).to_have_text("Done")
    with site.client(customer.key) as api:
        names = {one["first_name"] for one in api.get("/v1/contacts").json()["items"]}
    assert names == {"Ada", "Bob"}


def test_what_is_no_table_is_refused_in_words(
    page: Page, tmp_path: Path, complaints: list[str]
) -> None:
    path = tmp_path / "picture.csv"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    page.get_by_label("Choose a file").set_input_files(path)
    expect(step(page, "File")).to_contain_text("This can't be imported like that")
    expect(page.locator("#urgent")).not_to_be_empty()
    expect(page.get_by_role("button", name="Run the import")).to_have_count(0)
    complaints.clear()  # browsers log every refusal


def test_the_keyboard_is_enough(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "keys.csv"
    path.write_text("email\nkey@example.com\n")
    page.on("filechooser", lambda chooser: chooser.set_files(path))
    page.reload()  # the browser hands choosers to the test from now on
    page.get_by_label("Choose a file").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Run the import")).to_be_visible()
    seen: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.textContent.trim()"))
        if seen[-1] == "Run the import":
            break
    assert seen[-1] == "Run the import", seen
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/imports/*")
    expect(page.locator(".flow-state")).to_have_text("Done")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.get_by_role("button", name="Undo the import").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Undo the import")).to_be_focused()
