"""How a page may be looked at, and what axe-core and a narrow screen have against it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, ViewportSize


@dataclass(frozen=True, slots=True)
class Look:
    """The person's colours, their screen in pixels, and the sorts of axe's rules that it is checked by."""

    colors: Literal["light", "dark"]
    width: int
    height: int
    rules: tuple[str, ...] = ()
    """Tags of axe's; none: all that axe has."""

    @property
    def screen(self) -> ViewportSize:
        return {"width": self.width, "height": self.height}


LOOKS = (
    Look("light", 1280, 900),
    # Names, labels and structure are the markup's, which is the same in every look, and most of axe's time.
    Look(
        "dark", 360, 740, ("cat.color", "cat.keyboard", "cat.sensory-and-visual-cues", "cat.tables")
    ),
)


def each_look(page: Page) -> Iterator[Look]:
    """The page as it stands, in one look after the other; it stays in the last one, the narrow one."""
    for look in LOOKS:
        page.emulate_media(color_scheme=look.colors, reduced_motion="reduce")
        page.set_viewport_size(look.screen)
        yield look


def faults(page: Page, look: Look) -> list[str]:
    """What axe finds. It fetches no style sheets and sounds of its own: pages have no sound, and the rule about turned
    screens isn't among its usual ones.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found = page.evaluate(
        """rules => axe.run(document, {
            resultTypes: ["violations"],
            preload: false,
            ...(rules.length ? {runOnly: rules} : {}),
        }).then(results => results.violations)""",
        list(look.rules),
    )
    return [
        f"{one['id']}: {node['target']} {node.get('failureSummary', '')}"
        for one in found
        for node in one["nodes"]
    ]


def assert_fine(page: Page) -> None:
    """In every look."""
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    for look in each_look(page):
        found = faults(page, look)
        assert not found, (look, found)
        assert page.evaluate(overflow) <= 0, look
