"""Where PgBouncer is on this machine, and how it gets there: only tests need it."""

import shutil
from collections.abc import Callable
from pathlib import Path

from infra.local.errors import MissingProgram
from infra.local.packages import command_for, ensure

PLACES = (
    Path("/usr/sbin/pgbouncer"),
    Path("/opt/homebrew/opt/pgbouncer/bin/pgbouncer"),
    Path("/usr/local/opt/pgbouncer/bin/pgbouncer"),
)
PACKAGES = ("pgbouncer",)


def find_pgbouncer() -> Path | None:
    """The program, or None."""
    if found := shutil.which("pgbouncer"):
        return Path(found)
    return next((path for path in PLACES if path.exists()), None)


def ensure_pgbouncer(say: Callable[[str], None]) -> Path:
    """The program, installed where it is missing and we may; nothing of it is started. Raises MissingProgram
    with the command.
    """
    ensure(
        "PgBouncer",
        lambda: find_pgbouncer() is not None,
        debian=PACKAGES,
        brew=PACKAGES,
        say=say,
    )
    found = find_pgbouncer()
    if found is None:
        raise MissingProgram(
            f"PgBouncer is missing; install it with: {command_for(PACKAGES, PACKAGES)}"
        )
    return found
