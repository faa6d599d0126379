"""What can go wrong with a local system.

LocalError
├── MissingProgram   something must be installed first; the message holds the command
├── NoAccess         the account that a server runs under may not enter a folder on its way
├── AlreadyRunning   another process holds this home
├── StartCancelled   someone asked to stop while the start was under way
├── BadOrder         a job can't be written as it was asked for
└── ProgramFailed    a program or a set-up step failed; carries the tail of its log
"""

from pathlib import Path


class LocalError(Exception):
    """The message is one clear sentence for the person at the terminal."""

    exit_status = 1


class MissingProgram(LocalError):
    """Something the system needs is not installed, and we may not install it ourselves."""

    exit_status = 2


class NoAccess(LocalError):
    """The account that a server runs under, where root starts it, may not enter a folder on its way."""

    exit_status = 2

    def __init__(self, account: str, folder: Path) -> None:
        super().__init__(
            f"the account {account}, which servers run under that root starts, may not enter {folder}: "
            f"`chmod o+x {folder}`, clone somewhere else, or run this as an ordinary user"
        )


class AlreadyRunning(LocalError):
    """Another live process runs a system in the same home."""

    def __init__(self, home: str, pid: int | None) -> None:
        holder = f"process {pid}" if pid else "another process"
        super().__init__(
            f"already running: {holder} runs the system kept in {home}; "
            f"stop it with Ctrl-C there, or with `millrace down`"
        )


class StartCancelled(LocalError):
    """The start was given up because the system is being stopped."""


class BadOrder(LocalError):
    """A job can't be written as it was asked for; the message says what to ask for instead."""


class ProgramFailed(LocalError):
    """A program did not become ready, or a set-up step failed."""

    def __init__(self, name: str, reason: str, log_tail: str = "") -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.log_tail = log_tail
