"""Pictures of what an operator sees, by the browser of the browser tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from infra.local.chromium import ensure_chromium

WIDTH, HEIGHT = 900, 600
COLOURS = 32
"""Enough for text, and a fifth of the size."""


@contextmanager
def browser_page() -> Iterator[Page]:
    """One page, until the block ends. Raises infra.local.LocalError without a browser."""
    chromium = ensure_chromium(print)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium), args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        browser.close()


def photograph_alert(page: Page, url: str, alert: str, path: Path) -> None:
    """Of Prometheus's page of alerts: this one's rule and what it says."""
    page.goto(f"{url}/classic/alerts")
    row = page.locator("tr.alert_header", has=page.get_by_text(alert, exact=True))
    row.click()  # it unfolds
    page.locator("div.show-annotations").click()
    details = row.locator("xpath=following-sibling::tr[1]")
    details.wait_for(state="visible")
    picture = Image.open(BytesIO(details.screenshot()))
    picture.convert("RGB").quantize(COLOURS).save(path, optimize=True)
