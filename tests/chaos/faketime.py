"""A clock that is off, for one process: libfaketime, preloaded, which reads how far from a file."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from infra.local.layout import ROOT

PACKAGE = "faketime"
PRELOAD = Path(__file__).with_name("preload")
INSTALL = f"apt-get install --no-install-recommends {PACKAGE}"


def library() -> Path | None:
    """The variant for programs with threads, where it is installed."""
    return next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


def ensure_library(say: Callable[[str], None]) -> Path | None:
    """The library, installed where it is missing and we may; None, and one line that says so, without."""
    if library() is None and os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"installing {PACKAGE} ({INSTALL}) ...")
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for words in (["update", "-qq"], ["install", "-y", "-qq", *INSTALL.split()[2:]]):
            subprocess.run(["apt-get", *words], check=False, capture_output=True, env=quiet)
    found = library()
    if found is None:
        say(f"no process's clock will be off: {PACKAGE} is missing; install it with: {INSTALL}")
    return found


def environment(found: Path, offset: Path) -> dict[str, str]:
    """What a program is started with so that its clock follows the file `offset`, within a second.

    Only the wall clock does: time-outs keep their length, as they do when NTP steps a clock.
    """
    set_clock(offset, 0)
    return {
        "LD_PRELOAD": str(found),
        "PYTHONPATH": f"{PRELOAD}:{ROOT}",
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DISABLE_SHM": "1",
        # Its work-around for old C libraries makes timed waits of threads spin on newer ones.
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        "DONT_FAKE_MONOTONIC": "1",
    }


def set_clock(offset: Path, seconds: int) -> None:
    """Put the clock that follows `offset` that far off; replaced whole, for it is read at any moment."""
    draft = offset.with_suffix(".draft")
    draft.write_text(f"{seconds:+d}s\n")
    draft.replace(offset)
