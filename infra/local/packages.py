"""Programs that come from the system's packages: found, or installed where we may."""

import fcntl
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from infra.local.errors import MissingProgram

POLICY = Path("/usr/sbin/policy-rc.d")


def apt_install(what: str, *packages: str) -> None:
    """By Debian's packages; only root may. Raises MissingProgram with the tool's last words."""
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "PATH": _system_path()}
    _run(what, ["apt-get", "update", "-qq"], quiet)
    _run(what, ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], quiet)


def brew_install(what: str, *words: str) -> None:
    """By Homebrew. Raises MissingProgram with the tool's last words."""
    _run(what, ["brew", "install", *words], {})


def may_apt() -> bool:
    """Whether this is a Debian of some kind, and we are root."""
    return bool(shutil.which("apt-get")) and os.geteuid() == 0


def may_brew() -> bool:
    """Homebrew refuses to work for root."""
    return bool(shutil.which("brew")) and os.geteuid() != 0


def ensure(
    what: str,
    is_there: Callable[[], bool],
    *,
    debian: Sequence[str],
    brew: Sequence[str],
    say: Callable[[str], None],
) -> None:
    """Install `what` unless it is there, where we may; afterwards it may still be missing. Nothing of it is
    started. One at a time on a machine: the system's packages are, and tests run side by side.
    """
    if is_there():
        return
    with alone():
        if is_there():
            return
        if may_apt():
            say(f"installing {what} (apt-get install {' '.join(debian)}) ...")
            with _services_stay_down():
                apt_install(what, *debian)
        elif may_brew():
            say(f"installing {what} (brew install {' '.join(brew)}) ...")
            brew_install(what, *brew)


@contextmanager
def alone() -> Iterator[None]:
    """While this machine is changed: no other process of ours does that meanwhile."""
    with (Path(tempfile.gettempdir()) / f"millrace-{os.getuid()}.packages").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _services_stay_down() -> Iterator[None]:
    """Keep what is installed meanwhile from starting the distribution's own daemons: nobody asked for those."""
    if not may_apt() or POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def command_for(debian: Sequence[str], brew: Sequence[str]) -> str:
    """What a person runs to install it."""
    if platform.system() == "Darwin":
        return f"brew install {' '.join(brew)}"
    if shutil.which("apt-get"):
        return f"sudo apt-get install --no-install-recommends {' '.join(debian)}"
    return f"your system's package manager (package {debian[0]})"


def _run(what: str, command: list[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        command,
        check=False,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        words = done.stdout.strip().splitlines()[-5:]
        raise MissingProgram(
            f"could not install {what}: `{' '.join(command)}` failed: {' / '.join(words)}"
        )


def _system_path() -> str:
    """dpkg needs the sbin folders, which a root shell made by `su` may lack."""
    return os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
