"""Where Chromium is on this machine, and how it gets there: only the browser tests need it."""

import shutil
from collections.abc import Callable
from pathlib import Path

from infra.local.errors import MissingProgram
from infra.local.packages import command_for, ensure

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
APPLICATIONS = (
    Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
)
DEBIAN = ("chromium",)
BREW = ("--cask", "chromium")


def find_chromium() -> Path | None:
    """The browser's program, or None."""
    for name in NAMES:
        if found := shutil.which(name):
            return Path(found)
    return next((path for path in APPLICATIONS if path.exists()), None)


def ensure_chromium(say: Callable[[str], None]) -> Path:
    """The browser's program, installed where it is missing and we may. Raises MissingProgram with the
    command.
    """
    ensure("Chromium", lambda: find_chromium() is not None, debian=DEBIAN, brew=BREW, say=say)
    found = find_chromium()
    if found is None:
        raise MissingProgram(f"Chromium is missing; install it with: {command_for(DEBIAN, BREW)}")
    return found
