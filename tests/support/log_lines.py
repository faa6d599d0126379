"""What a module says in its log."""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs


@contextmanager
def log_lines(*modules: ModuleType) -> Iterator[list[MutableMapping[str, Any]]]:
    """The lines of these modules' `log`, whoever has used and set it up before."""
    with pytest.MonkeyPatch.context() as patch:
        for module in modules:
            patch.setattr(module, "log", structlog.get_logger())
        with capture_logs() as lines:
            yield lines
