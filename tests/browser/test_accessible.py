"""axe-core finds nothing on any page or step, light or dark, and all fits a narrow screen."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site, sign_in
from tests.browser.looks import assert_fine
from tests.support.customers import Customer

pytestmark = pytest.mark.long


def test_every_step_is_accessible(
    looked_at: Page,
    site: Site,
    customer: Customer,
    tmp_path: Path,
) -> None:
    path = tmp_path / "people.csv"
    path.write_text(
        "email,first name,birthday\n"
        "ada@example.com,Ada,03.04.1990\nbob@example.com,Bob,05.06.1991\nnobody,Nobody,\n"
    )
    page = looked_at
    page.goto("/console/sign-in")
    assert_fine(page)
    sign_in(page, customer)
    assert_fine(page)
    page.get_by_label("Choose a file").set_input_files(path)
    expect(page.get_by_role("button", name="Run the import")).to_be_enabled()
    page.locator("summary").click()
    assert_fine(page)
    page.get_by_role("button", name="Run the import").click()
    page.wait_for_url("**/console/imports/*")
    expect(page.locator(".flow-state")).to_have_text("Done")
    assert_fine(page)
    page.get_by_role("button", name="Undo the import").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert_fine(page)
    page.goto("/console/imports/none")
    assert_fine(page)
