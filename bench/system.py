"""The system that benchmarks run on: the local one, in a home of its own."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from app.settings import Settings
from infra.local.system import LocalSystem


@contextmanager
def bench_system(
    home: Path, programs: Collection[str], environment: Mapping[str, str] | None = None
) -> Iterator[LocalSystem]:
    """Start the named programs, stop them whatever happens."""
    with LocalSystem(home, programs=programs, environment=environment, say=print) as system:
        yield system


def settings_of(system: LocalSystem) -> Settings:
    """The product's settings in that system."""
    names = {
        name.removeprefix("MILLRACE_").lower(): value for name, value in system.settings.items()
    }
    return Settings.model_validate(names)
