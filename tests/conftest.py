"""Fixtures: nothing here starts before a test asks for it."""

import gc
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import hypothesis
import pytest
from sqlalchemy import Engine
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from app.db import close, make_engine
from app.settings import Settings
from app.storage import Storage, make_storage
from tests.support.clamd import ClamdServer
from tests.support.commands import Run, commands_here
from tests.support.customers import Customer, make_customer
from tests.support.housekeeping import House
from tests.support.processes import Processes
from tests.support.queues import Queues
from tests.support.runtime import Worker
from tests.support.servers import Servers, started
from tests.support.web import Web, web_server

TOGETHER = ("tests/browser/", "tests/integration/workers/", "tests/integration/one_worker/")
"""Folders whose files share what they start."""


# How long an example takes is the machine's. A gate tries the same examples each time, so that what fails is the change;
# ARGS=--hypothesis-profile=explore tries new ones.
hypothesis.settings.register_profile("gate", deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None, print_blob=True)
hypothesis.settings.load_profile("gate")


def pytest_sessionstart() -> None:
    """Collecting makes a million objects and no garbage; looking for some takes a third of the time."""
    gc.disable()


def pytest_collection_finish() -> None:
    """What was collected stays to the end: no look for garbage goes through it again, and tests leave little."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first: whoever runs the last one then doesn't keep the others waiting."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


class TogetherScheduling(LoadFileScheduling):
    """A file at a time, and all files of a folder together that share a system."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return next((folder for folder in TOGETHER if file.startswith(folder)), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> TogetherScheduling:
    return TogetherScheduling(config, log)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Real PostgreSQL, RabbitMQ, S3 and SMTP. Without them a test is skipped, but fails in CI."""
    made = Servers(tmp_path_factory.mktemp("servers"))
    with started(made):
        yield made


@pytest.fixture(scope="session")
def clamd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClamdServer]:
    """A real virus scanner with signatures of the tests' own; without it as without the other servers."""
    made = ClamdServer(tmp_path_factory.mktemp("clamd"))
    with started(made):
        yield made


@pytest.fixture
def database(servers: Servers) -> Iterator[str]:
    """The name of a database of the test's own, with the product's tables and nothing in them."""
    with servers.database() as name:
        yield name


@pytest.fixture
def environment(servers: Servers, database: str) -> dict[str, str]:
    """What the product's processes are started with; a test may add to it before it uses `settings`."""
    return servers.environment(
        database, s3_bucket=f"t-{uuid4().hex}", confirm_timeout=5, dispatch_poll_seconds=0.2
    )


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return Settings.of(environment)


@pytest.fixture
def run(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Run]:
    """`millrace` commands, on the test's database."""
    with commands_here(environment, monkeypatch, capsys) as runs:
        yield runs


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    made = make_engine(settings, pool_size=5, max_overflow=20, application_name="millrace-tests")
    yield made
    close(made)


@pytest.fixture
def storage(settings: Settings) -> Storage:
    """A bucket of the test's own."""
    made = make_storage(settings)
    made.ensure_bucket()
    return made


@pytest.fixture
def tenant(engine: Engine) -> Customer:
    return make_customer(engine)


@pytest.fixture
def stranger(engine: Engine) -> Customer:
    """Another tenant."""
    return make_customer(engine)


@pytest.fixture
def worker(
    engine: Engine, storage: Storage, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Worker]:
    """The worker's runtime in the test's own process, without broker and Celery."""
    made = Worker(engine, storage, settings, monkeypatch)
    yield made
    made.close()


@pytest.fixture
def queues(servers: Servers) -> Iterator[Queues]:
    """The broker's queues, declared and empty."""
    opened = Queues(Settings.of(servers.system.settings))
    opened.purge()
    yield opened
    opened.close()


@pytest.fixture
def processes(
    servers: Servers, environment: dict[str, str], queues: Queues, tmp_path: Path
) -> Iterator[Processes]:
    """Dispatchers and workers as processes of their own."""
    with Processes(servers, environment, tmp_path) as started:
        yield started


@pytest.fixture
def web(settings: Settings, storage: Storage) -> Iterator[Web]:
    """A real web server."""
    with web_server(settings) as served:
        yield served


@pytest.fixture
def api(web: Web, tenant: Customer) -> Iterator[httpx.Client]:
    """An HTTP client with the tenant's key."""
    with web.client(tenant.key) as client:
        yield client


@pytest.fixture
def house(settings: Settings, engine: Engine, queues: Queues) -> Iterator[House]:
    """The dispatcher's chores, a step at a time, with the real broker."""
    made = House(settings, engine, queues)
    yield made
    made.close()
