"""`millrace` commands: in the test's own process, which starts none, and as a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from app.cli import main
from app.settings import get_settings

MILLRACE = Path(sys.executable).with_name("millrace")


@dataclass(frozen=True, slots=True)
class Said:
    """What a command wrote, and its exit status."""

    out: str
    err: str
    status: int

    @property
    def json(self) -> Any:
        assert self.status == 0, self.err
        return json.loads(self.out)


class Run(Protocol):
    """Runs a command: `run("jobs", "show", job_id)`."""

    def __call__(self, *words: object) -> Said: ...


@contextmanager
def commands_here(
    environment: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Run]:
    """The console script in this process: starting one takes longer than what it does."""
    for name in [name for name in os.environ if "MILLRACE" in name]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def act(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["millrace", *map(str, words)])
        get_settings.cache_clear()
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Said(said.out, said.err, int(ended.value.code or 0))

    try:
        yield act
    finally:
        get_settings.cache_clear()


def run_process(environment: Mapping[str, str], *words: object) -> Said:
    """The console script as an operator's shell runs it."""
    clean = {name: value for name, value in os.environ.items() if "MILLRACE" not in name}
    done = subprocess.run(
        [MILLRACE, *map(str, words)],
        env={**clean, **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Said(done.stdout, done.stderr, done.returncode)
