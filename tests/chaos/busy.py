"""Which worker child runs which job at this moment: a file per child, so that a fault can pick its victim."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from celery.signals import task_postrun, task_prerun

FOLDER = "CHAOS_BUSY"


def watch() -> None:
    """In a worker: keep the files."""
    task_prerun.connect(_begin)
    task_postrun.connect(_end)


def job_of(folder: Path, pid: int) -> UUID | None:
    """The job that the child runs now, or None."""
    try:
        return UUID((folder / str(pid)).read_text())
    except (OSError, ValueError):
        return None


def _begin(kwargs: dict[str, Any] | None = None, **_: Any) -> None:
    (Path(os.environ[FOLDER]) / str(os.getpid())).write_text(str((kwargs or {}).get("job_id")))


def _end(**_: Any) -> None:
    with suppress(FileNotFoundError):
        (Path(os.environ[FOLDER]) / str(os.getpid())).unlink()
