"""Everything here is traced, and a collector of the test's own gets the spans."""

from collections.abc import Iterator

import pytest

from app.settings import Settings
from tests.support.collector import Collector, collecting, environment_with, tracing
from workers import handlers

__all__ = ["handlers"]
"""The product's own are registered by being imported."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as made:
        yield made


@pytest.fixture
def environment(environment: dict[str, str], collector: Collector) -> dict[str, str]:
    return environment_with(environment, collector)


@pytest.fixture
def traced(settings: Settings) -> Iterator[None]:
    with tracing(settings):
        yield
