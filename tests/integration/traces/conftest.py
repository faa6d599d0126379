"""Everything here is traced, and a collector of the test's own gets the spans."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from app.ledger.contract import JobContract
from app.settings import Settings
from tests.support.collector import (
    Collector,
    collecting,
    delivered,
    dispatched,
    environment_with,
    tracing,
)
from tests.support.queues import Queues
from tests.support.runtime import Worker
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


Carry = Callable[[type[JobContract]], list[str | None]]


@pytest.fixture
def traced(settings: Settings) -> Iterator[None]:
    with tracing(settings):
        yield


@pytest.fixture
def carry(
    traced: None, settings: Settings, engine: Engine, queues: Queues, worker: Worker
) -> Carry:
    """Sends what is due of a kind and runs it, in this process, which traces; what the messages carried."""

    def act(contract: type[JobContract]) -> list[str | None]:
        dispatched(settings, engine, contract)
        return delivered(worker, queues)

    return act
