"""What a crash left running: found by a marker in the environment, and ended."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import psutil

from infra.local.program import MARKER

GRACE_SECONDS = 20.0


def end_leftovers(home: Path) -> list[str]:
    """End every process of the system kept in `home`; their names, for the curious.

    Guarantees that none is left, or raises RuntimeError. Never touches the caller, its ancestors,
    or a process of another home. Call it only while holding the home's lock.
    """
    found = find_processes(home)
    names = sorted({_name(process) for process in found})
    _ask_to_end(found)
    _, stubborn = psutil.wait_procs(found, timeout=GRACE_SECONDS if found else 0)
    for _attempt in range(10):
        for process in stubborn:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(stubborn, timeout=5)
        stubborn = find_processes(home)  # what they may have started meanwhile
        if not stubborn:
            return names
    raise RuntimeError(f"processes of an earlier run do not end: {stubborn}")


def find_processes(home: Path) -> list[psutil.Process]:
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [
        process
        for process in psutil.process_iter()
        if process.pid not in spared and _belongs_to(process, home)
    ]


def _belongs_to(process: psutil.Process, home: Path) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.environ().get(MARKER) == str(home):
            return True
        # PostgreSQL's own children overwrite their environment with a title, but stay in its data.
        return process.name() == "postgres" and Path(process.cwd()).is_relative_to(
            home / "postgres"
        )
    except (psutil.Error, OSError):
        return False


def _ask_to_end(processes: list[psutil.Process]) -> None:
    """A manager that still lives is asked alone: it stops the others in order."""
    managers = [process for process in processes if "infra.local.manager" in _words(process)]
    for process in managers or processes:
        with suppress(psutil.Error):
            # PostgreSQL waits for its sessions on TERM, and ends them on INT.
            process.send_signal(signal.SIGINT if _name(process) == "postgres" else signal.SIGTERM)


def _name(process: psutil.Process) -> str:
    try:
        return process.environ().get("SUPERVISED") or process.name()
    except (psutil.Error, OSError):
        return "?"


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
