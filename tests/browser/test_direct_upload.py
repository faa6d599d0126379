"""A large file goes straight to the store, goes on after a break, and falls back to the API."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, expect

import app.console.imports as pages
from tests.browser.conftest import PART_BYTES, Site

pytestmark = pytest.mark.long

MIB = 1024 * 1024
ROWS = 700


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two parts, in few rows."""
    monkeypatch.setattr(pages, "DIRECT_ABOVE_BYTES", MIB)
    path = tmp_path / "large.csv"
    with path.open("w") as out:
        out.write("email,note\n")
        for number in range(ROWS):
            out.write(f"user{number}@example.com,{'x' * 9500}\n")
    assert path.stat().st_size > PART_BYTES
    return path


def run(page: Page, path: Path) -> None:
    page.reload()  # with the limit of this test
    page.get_by_label("Choose a file").set_input_files(path)
    page.get_by_role("button", name="Run the import").click()


def assert_done(page: Page) -> None:
    page.wait_for_url("**/console/imports/*")
    expect(page.locator(".flow-state")).to_have_text("Done")
    expect(page.locator(".gauges dd").first).to_have_text(f"{ROWS:,}")


class Store:
    """Looks on at what the page sends to the store, which can't be reached for the parts in `refuse`."""

    def __init__(self, page: Page, site: Site) -> None:
        self.stored: list[str] = []
        self._address = str(site.settings.s3_endpoint_url)
        self._devtools = page.context.new_cdp_session(page)
        self._devtools.send("Network.enable")
        page.on("requestfinished", self._note)

    def refuse(self, *parts: str) -> None:
        patterns = [f"*partNumber={part}&*" for part in parts]
        self._devtools.send("Network.setBlockedURLs", {"urls": patterns})

    def _note(self, request: Request) -> None:
        if request.url.startswith(self._address) and request.method == "PUT":
            self.stored.append(request.url.split("partNumber=")[1].split("&")[0])


def test_parts_go_to_the_store_and_an_upload_that_broke_goes_on(
    page: Page, site: Site, large: Path, complaints: list[str]
) -> None:
    store = Store(page, site)
    store.refuse("2")
    run(page, large)
    expect(page.get_by_text("The import could not be started")).to_be_visible(timeout=30_000)
    assert store.stored == ["1"]
    store.stored.clear()
    store.refuse()
    run(page, large)
    assert_done(page)
    assert store.stored == ["2"]
    complaints.clear()  # about the connections that failed


def test_a_store_that_refuses_pages_is_gone_around(
    page: Page, site: Site, large: Path, complaints: list[str]
) -> None:
    store = Store(page, site)
    store.refuse("1", "2")
    run(page, large)
    assert_done(page)
    assert store.stored == []
    complaints.clear()
