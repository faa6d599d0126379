"""What was looked at, what was found, and what to change; and how all of it is done in a bounded time."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.logs import cause


class Status(StrEnum):
    """Of a finding: it is as it should be, it may be meant so, or the product can't work like this."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


_WORST_FIRST = (Status.FAILED, Status.WARNING, Status.OK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`check` is stable, such as `postgresql.version`; `change` is empty where nothing is to be done."""

    check: str
    status: Status
    found: str
    change: str = ""


def ok(check: str, found: str, *, hint: str = "") -> Finding:
    """As it should be."""
    return Finding(check=check, status=Status.OK, found=found, change=hint)


def warning(check: str, found: str, change: str) -> Finding:
    """Look at it."""
    return Finding(check=check, status=Status.WARNING, found=found, change=change)


def failed(check: str, found: str, change: str) -> Finding:
    """Mend it."""
    return Finding(check=check, status=Status.FAILED, found=found, change=change)


Examination = Callable[[], Iterable[Finding]]
"""Looks at one server, finding after finding."""


def worst(findings: Sequence[Finding]) -> Status:
    """Of them all."""
    found = {finding.status for finding in findings}
    return next((status for status in _WORST_FIRST if status in found), Status.OK)


def examine(examinations: Mapping[str, Examination], *, seconds: float) -> list[Finding]:
    """All at the same time, in their order, for so long at most: what takes longer has failed with what it has
    found by then. What an examination raises is a finding too, by its type alone.
    """
    found: dict[str, list[Finding]] = {name: [] for name in examinations}
    threads = {
        name: threading.Thread(target=_run, args=(name, look, found[name]), name=name, daemon=True)
        for name, look in examinations.items()
    }
    deadline = time.monotonic() + seconds
    for thread in threads.values():
        thread.start()
    findings: list[Finding] = []
    for name, thread in threads.items():
        thread.join(max(0.0, deadline - time.monotonic()))
        findings += list(found[name])
        if thread.is_alive():
            line = f"It didn't answer all questions within {seconds:g} s."
            findings.append(
                failed(name, line, "See whether a firewall swallows what is sent to it.")
            )
    return findings


def _run(name: str, look: Examination, found: list[Finding]) -> None:
    try:
        for finding in look():
            found.append(finding)  # noqa: PERF402 - one by one: what comes after may take too long
    except Exception as error:  # noqa: BLE001 - one examination must not keep us from the others
        line = f"It couldn't be looked at: {cause(error)}."
        found.append(failed(name, line, "Run the command again; if this stays, it is a bug."))
