"""How a page may be looked at, and what axe-core and a narrow screen have against it."""

from dataclasses import dataclass
from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, ViewportSize


@dataclass(frozen=True, slots=True)
class Look:
    """The person's colours, and their screen in pixels."""

    colors: Literal["light", "dark"]
    width: int
    height: int

    @property
    def screen(self) -> ViewportSize:
        return {"width": self.width, "height": self.height}


LOOKS = {"light-wide": Look("light", 1280, 900), "dark-narrow": Look("dark", 360, 740)}


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
