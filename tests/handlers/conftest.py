"""The product's own handlers are registered by being imported."""

import pytest

from tests.support.exports import tiny_parts
from workers import handlers

__all__ = ["handlers"]


@pytest.fixture
def in_tiny_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports of a few thousand rows are made in several parts."""
    tiny_parts(monkeypatch)
