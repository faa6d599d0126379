"""The account that PostgreSQL runs under: it refuses to run as root."""

import grp
import os
import platform
import pwd
import shutil
import subprocess
from pathlib import Path

from infra.local.errors import MissingProgram, NoAccess
from infra.local.packages import alone

ACCOUNT = "millrace-local"
PASSING = (
    "--securebits=+no_setuid_fixup",
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
)
"""Without the first the capability doesn't count in access(2), by which initdb looks for postgres."""


def become_unprivileged(folder: Path, executable: Path) -> list[str]:
    """The words to put before a command so that it does not run as root; [] when we are not root.

    Makes the system account on first use and gives it `folder`. Where the account cannot reach
    the folder or the executable (a checkout below root's home), it may pass the directories above
    by a capability of that one process; no directory's mode is changed. Raises NoAccess where root
    itself hasn't that capability, as in some containers.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if platform.system() != "Linux" or setpriv is None:
        raise MissingProgram("PostgreSQL does not run as root: run this as an ordinary user")
    account = _ensure_account()
    _give(folder, account)
    prefix = [setpriv, f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    if _can_use(prefix, folder, executable):
        return prefix
    passing = [*prefix, *PASSING]
    if _can_use(passing, folder, executable):
        return passing
    raise NoAccess(ACCOUNT, _closed(prefix, executable, _library(executable), folder))


def _can_use(prefix: list[str], folder: Path, executable: Path) -> bool:
    check = 'test -x "$1" && test -r "$2" && test -w "$3"'
    return _holds(prefix, check, executable, _library(executable), folder)


def _library(executable: Path) -> Path:
    return executable.parents[1] / "lib"


def _closed(prefix: list[str], *paths: Path) -> Path:
    """The first folder on the way to one of them that the account may not enter."""
    ways = (folder for path in paths for folder in (*reversed(path.parents), path))
    return next((way for way in ways if not _holds(prefix, 'test -x "$1"', way)), paths[-1])


def _holds(prefix: list[str], check: str, *paths: Path) -> bool:
    words = [*prefix, "sh", "-c", check, "sh", *map(str, paths)]
    done = subprocess.run(words, check=False, cwd="/", stderr=subprocess.DEVNULL)
    return done.returncode == 0


def _ensure_account() -> pwd.struct_passwd:
    """One process makes it: tests start side by side, and each has a PostgreSQL."""
    with alone():
        try:
            return pwd.getpwnam(ACCOUNT)
        except KeyError:
            _make_account()
        return pwd.getpwnam(ACCOUNT)


def _make_account() -> None:
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin"]
    if shutil.which("useradd") is None:
        raise MissingProgram(
            f"PostgreSQL needs an account other than root: make one named {ACCOUNT}"
        )
    group = ["--gid", ACCOUNT] if _has_group() else ["--user-group"]
    made = subprocess.run([*command, *group, ACCOUNT], check=False, capture_output=True, text=True)
    if made.returncode:
        raise MissingProgram(
            f"PostgreSQL needs an account other than root, and {ACCOUNT} could not be made: "
            f"{made.stderr.strip()}"
        )


def _has_group() -> bool:
    return any(group.gr_name == ACCOUNT for group in grp.getgrall())


def _give(folder: Path, account: pwd.struct_passwd) -> None:
    if folder.stat().st_uid == account.pw_uid:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
