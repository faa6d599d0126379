"""A real Chromium on the real system: one web process, dispatcher and workers for all tests here, a tenant
and a browser profile of its own for each.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from sqlalchemy import Engine

from app.db import close, make_engine
from app.settings import Settings
from app.storage import make_storage
from infra.local.chromium import ensure_chromium
from infra.local.errors import MissingProgram
from tests.browser.looks import each_look
from tests.support.customers import Customer, make_customer
from tests.support.processes import Processes
from tests.support.queues import Queues
from tests.support.servers import Servers
from tests.support.web import plain_client, web_server

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
expect.set_options(timeout=20_000)
PART_BYTES = 5 * 1024 * 1024
"""Of a direct upload: the least that S3 takes."""
PICTURES = Path(__file__).parents[2] / ".local" / "screenshots"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The system as a browser sees it, and its database."""

    url: str
    engine: Engine
    settings: Settings

    def client(self, key: str) -> httpx.Client:
        """The API, for what a test looks up beside the page."""
        return plain_client(self.url, headers={"Authorization": f"Bearer {key}"})


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Without Chromium a test is skipped, but fails in CI."""
    try:
        chromium = ensure_chromium(print)
    except MissingProgram as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no browser: {missing}")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="package")
def site(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Everything that runs, at the address from which the object store takes a page's uploads."""
    with servers.database() as name:
        environment = servers.environment(
            name,
            s3_bucket=f"t-{uuid4().hex}",
            confirm_timeout=5,
            dispatch_poll_seconds=0.2,
            upload_part_bytes=PART_BYTES,
        )
        settings = Settings.of(environment)
        make_storage(settings).ensure_bucket()
        with ExitStack() as stack:
            engine = make_engine(settings, pool_size=2, application_name="millrace-tests")
            stack.callback(close, engine)
            stack.enter_context(Queues(settings)).purge()
            logs = tmp_path_factory.mktemp("browser")
            processes = stack.enter_context(Processes(servers, environment, logs))
            stack.enter_context(web_server(settings, port=servers.system.ports["web"]))
            processes.dispatcher()
            processes.worker("default", concurrency=2)
            yield Site(url=servers.system.web_url, engine=engine, settings=settings)


@pytest.fixture
def customer(site: Site) -> Customer:
    return make_customer(site.engine)


@pytest.fixture
def context(browser: Browser, site: Site) -> Iterator[BrowserContext]:
    """An empty profile; English, so that figures are written in one way."""
    made = browser.new_context(base_url=site.url, locale="en-GB", accept_downloads=True)
    made.set_default_timeout(20_000)
    yield made
    made.close()


@pytest.fixture
def looked_at(browser: Browser, site: Site) -> Iterator[Page]:
    """A page that axe may examine: its own script is let in. Not signed in."""
    context = browser.new_context(base_url=site.url, bypass_csp=True, locale="en-GB")
    yield context.new_page()
    context.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complained about on `page`; a test clears what it meant to bring about."""
    return []


@pytest.fixture
def page(
    context: BrowserContext, site: Site, customer: Customer, complaints: list[str]
) -> Iterator[Page]:
    """Signed in, without the form: that is test_signing_in's. Whatever the browser complains about, a script's error, a policy that is broken, an address
    that isn't there, fails the test.
    """
    made = context.new_page()
    made.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    made.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    answer = context.request.post(
        "/console/session",
        form={"key": customer.key},
        headers={"Origin": site.url},
        max_redirects=0,
    )
    assert answer.status == httpx.codes.SEE_OTHER
    made.goto("/console/imports")
    made.get_by_role("heading", name="Import a file").wait_for()
    yield made
    assert complaints == []


def sign_in(page: Page, customer: Customer) -> None:
    page.goto("/console/imports")
    page.get_by_label("API key").fill(customer.key)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Import a file").wait_for()


def picture(page: Page, name: str) -> None:
    """Keep what the page looks like, for whoever asked for pictures."""
    if os.environ.get("PICTURES"):
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}.png", full_page=True)


def picture_in_each_look(page: Page, name: str) -> None:
    """As `picture`, in the colours and on the screens that pages are examined in."""
    if os.environ.get("PICTURES"):
        for look in each_look(page):
            picture(page, f"{name}-{look.colors}")
