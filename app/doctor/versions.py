"""Python and the packages, against what the product was built for."""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from app.doctor.findings import Finding, failed, ok, warning

OLDEST_PYTHON = (3, 11)
LOCKS = Path(__file__).resolve().parents[2] / "requirements"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_NAMED = 5


def versions(locks: Path = LOCKS) -> Iterator[Finding]:
    """Images carry no lock: there, only what is missing altogether is found."""
    python = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info < OLDEST_PYTHON:
        yield failed("versions.python", python, "Use Python 3.11 or newer.")
    else:
        yield ok("versions.python", python)
    missing = _missing()
    if missing:
        yield failed(
            "versions.packages",
            f"not installed: {', '.join(missing)}",
            "Install the product again.",
        )
        return
    pins = _pins(locks)
    other = [
        f"{name} {found} instead of {' or '.join(sorted(allowed))}"
        for name, allowed in sorted(pins.items())
        if (found := _installed(name)) not in {None, *allowed}
    ]
    if other:
        shown = ", ".join(other[:_NAMED]) + (
            f" and {len(other) - _NAMED} more" if other[_NAMED:] else ""
        )
        yield warning("versions.packages", shown, "Run `make lint`, or build the image again.")
    else:
        lock = (
            f"all of {len(pins)} as in the lock" if pins else "all that are needed; no lock is here"
        )
        yield ok("versions.packages", lock)


def _missing() -> list[str]:
    """Of what the product needs wherever it runs."""
    needed = [line for line in requires("millrace") or () if "extra ==" not in line]
    names = [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in needed]
    return [name for name in names if _installed(name) is None]


def _pins(locks: Path) -> dict[str, set[str]]:
    """Some packages have two, for two versions of Python."""
    found: dict[str, set[str]] = {}
    for lock in (locks / f"{name}.txt" for name in ("web", "worker", "dev")):
        if lock.exists():
            for name, pin in _PIN.findall(lock.read_text()):
                found.setdefault(name, set()).add(pin)
    return found


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
