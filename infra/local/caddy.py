"""Where Caddy, the stack's proxy, is on this machine, and how it gets there: only a test needs it."""

import shutil
from collections.abc import Callable
from pathlib import Path

from infra.local.errors import MissingProgram
from infra.local.packages import command_for, ensure

DEBIAN = ("caddy",)
BREW = ("caddy",)


def ensure_caddy(say: Callable[[str], None]) -> Path:
    """The program, installed where it is missing and we may; nothing of it is started. Raises MissingProgram
    with the command.
    """
    ensure("Caddy", lambda: bool(shutil.which("caddy")), debian=DEBIAN, brew=BREW, say=say)
    found = shutil.which("caddy")
    if found is None:
        raise MissingProgram(f"Caddy is missing; install it with: {command_for(DEBIAN, BREW)}")
    return Path(found)
