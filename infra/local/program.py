"""One program of the system: how it is started, told to stop, and known to be ready."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.local.layout import ROOT

MARKER = "MILLRACE_LOCAL_HOME"
"""Every process of a system carries its home in this variable; so a crash's leftovers are found."""


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """`ready` is asked again and again; it must return quickly and must not raise."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    needs: Sequence[str] = ()
    """Names of programs and set-up steps that must be ready before this one is started."""
    ready: Callable[[], bool] = _always
    ready_seconds: float = 120.0
    stop_signal: str = "TERM"
    stop_seconds: float = 15.0
    """After so long it is killed, together with its process group."""
    directory: Path = ROOT
    server: bool = False
    """Servers stop after everything else has stopped."""
    before_start: Callable[[], None] | None = None
