"""axe-core finds nothing on any page or step, light or dark, and all fits a narrow screen."""

from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Site, sign_in
from tests.support.customers import Customer

pytestmark = pytest.mark.long

WIDE, NARROW = (1280, 900), (360, 740)


def faults(page: Page) -> list[str]:
    found = Axe().run(page, options={"resultTypes": ["violations"]})
    return [
        f"{one['id']}: {node['target']} {node.get('failureSummary', '')}"
        for one in found.response["violations"]
        for node in one["nodes"]
    ]


def assert_fine(page: Page) -> None:
    assert faults(page) == []
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) <= 0


@pytest.mark.parametrize(
    ("colors", "size"), [("light", WIDE), ("dark", NARROW)], ids=["light-wide", "dark-narrow"]
)
def test_every_step_is_accessible(
    browser: Browser,
    site: Site,
    customer: Customer,
    tmp_path: Path,
    colors: Literal["light", "dark"],
    size: tuple[int, int],
) -> None:
    path = tmp_path / "people.csv"
    path.write_text(
        "email,first name,birthday\n"
        "ada@example.com,Ada,03.04.1990\nbob@example.com,Bob,05.06.1991\nnobody,Nobody,\n"
    )
    context = browser.new_context(
        base_url=site.url,
        color_scheme=colors,
        viewport={"width": size[0], "height": size[1]},
        reduced_motion="reduce",
        bypass_csp=True,  # for axe's own script
    )
    page = context.new_page()
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
    context.close()
