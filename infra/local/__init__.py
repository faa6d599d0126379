"""The whole system on one machine: real servers and the product's processes, from bare to running.

`LocalSystem` is the one entry point; the command line, the tests and the benchmarks all use it.
"""

from infra.local.errors import (
    AlreadyRunning,
    LocalError,
    MissingProgram,
    ProgramFailed,
    StartCancelled,
)
from infra.local.mailbox import Mail
from infra.local.program import Program
from infra.local.starting import Step
from infra.local.system import ALL, PRODUCT, SERVERS, LocalSystem

__all__ = [
    "ALL",
    "PRODUCT",
    "SERVERS",
    "AlreadyRunning",
    "LocalError",
    "LocalSystem",
    "Mail",
    "MissingProgram",
    "Program",
    "ProgramFailed",
    "StartCancelled",
    "Step",
]
