"""The servers of a benchmark that starts the product's processes by itself."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine

from app.db import make_engine
from app.settings import Settings
from app.storage import make_storage
from infra.local.program import Program
from infra.local.system import LocalSystem

HOME = Path(".local/bench")
NAMES = ("postgres", "epmd", "rabbitmq", "s3")


@contextmanager
def servers(
    home: Path = HOME, extra: Callable[[LocalSystem], Sequence[Program]] | None = None
) -> Iterator[tuple[LocalSystem, Engine]]:
    """They run, with the product's tables and bucket, and with what an earlier run left there. Applications that are
    imported from now on find their settings in this process's environment.
    """
    with LocalSystem(home, programs=NAMES, extra=extra, say=print) as system:
        system.run_command("migrate")
        os.environ.update(system.settings)
        settings = Settings.of(system.settings)
        engine = make_engine(settings, pool_size=2, application_name="bench")
        make_storage(settings).ensure_bucket()
        try:
            yield system, engine
        finally:
            engine.dispose()
