"""Where clamd, the virus scanner, is on this machine, and how it gets there: only tests need it."""

import shutil
from collections.abc import Callable
from pathlib import Path

from infra.local.errors import MissingProgram
from infra.local.packages import command_for, ensure

PLACES = (
    Path("/usr/sbin/clamd"),
    Path("/opt/homebrew/opt/clamav/sbin/clamd"),
    Path("/usr/local/opt/clamav/sbin/clamd"),
    Path("/usr/local/sbin/clamd"),
)
DEBIAN = ("clamav-daemon",)
BREW = ("clamav",)


def find_clamd() -> Path | None:
    """The daemon's program, or None."""
    if found := shutil.which("clamd"):
        return Path(found)
    return next((path for path in PLACES if path.exists()), None)


def ensure_clamd(say: Callable[[str], None]) -> Path:
    """The daemon's program, installed where it is missing and we may; nothing of it is started. Raises
    MissingProgram with the command.
    """
    ensure("ClamAV", lambda: find_clamd() is not None, debian=DEBIAN, brew=BREW, say=say)
    found = find_clamd()
    if found is None:
        raise MissingProgram(f"clamd is missing; install it with: {command_for(DEBIAN, BREW)}")
    return found
