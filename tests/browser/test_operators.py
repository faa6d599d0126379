"""The operators' console in a real Chromium: every page within its policy and found fine by axe, light and wide,
dark and narrow; a replay by keyboard alone; figures that follow what happens.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import text

from app.jobs import WelcomeMail
from app.keys import create_operator_key
from app.ledger.rules import Scope, pause
from app.roles import Role
from tests.browser.conftest import Site, picture_in_each_look
from tests.browser.looks import assert_fine
from tests.support.customers import Customer, make_customer
from tests.support.deaths import dead, incident_of
from tests.support.filled import Filled, fill
from tests.support.jobs import job_facts

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def owner(site: Site) -> Customer:
    return make_customer(site.engine)


@pytest.fixture(scope="module")
def filled(site: Site, owner: Customer) -> Iterator[Filled]:
    """With its jobs held back: dispatcher and workers are running."""
    with site.engine.begin() as tx:
        pause(tx, Scope.TENANT, str(owner.id), reason="for a test")
    yield fill(site.engine, owner)
    with site.engine.begin() as tx:
        tx.execute(text("DELETE FROM schedules WHERE tenant_id = :id"), {"id": owner.id})


def enter(page: Page, site: Site, role: Role) -> None:
    """By a key that was just made."""
    with site.engine.begin() as tx:
        _, key = create_operator_key(tx, name=f"{role.value} of the tests", role=role)
    page.goto("/console")
    page.get_by_label("API key").fill(key)
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/overview")


def quietly(page: Page) -> list[str]:
    """What the browser complains about from now on."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(f"error: {error}"))
    page.on("console", lambda said: found.append(said.text) if said.type == "error" else None)
    return found


def test_every_page_keeps_to_its_policy_and_is_accessible(
    context: BrowserContext, site: Site, filled: Filled
) -> None:
    page = context.new_page()
    complaints = quietly(page)
    enter(page, site, Role.ADMIN)
    replay = f"incidents/{filled.incident}/replay?rate=20"
    for path in [*filled.pages, replay, "access", "jobs/none"]:
        page.goto(f"/console/{path}")
        expect(page.locator("h1")).to_be_visible()
        for act in page.locator("details.act > summary").all()[:4]:
            act.click()
        assert_fine(page)
        name = path.split("?")[0].split("/")
        picture_in_each_look(page, f"op-{name[0]}{'-one' if len(name) > 1 else ''}")
    assert [said for said in complaints if "404" not in said] == []


def test_an_incident_is_replayed_by_keyboard_alone(
    context: BrowserContext, site: Site, owner: Customer, filled: Filled
) -> None:
    gone = dead(
        site.engine, owner.id, WelcomeMail(), "No room", frame="app.keyboard:f", code="full"
    )
    incident = incident_of(site.engine, gone)["id"]
    page = context.new_page()
    complaints = quietly(page)
    enter(page, site, Role.OPERATOR)
    page.goto(f"/console/incidents/{incident}")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    summary = page.locator("summary", has_text="Replay")
    for _ in range(12):
        if summary.evaluate("each => each === document.activeElement"):
            break
        page.keyboard.press("Tab")
    expect(summary).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Jobs a second, at most")).to_be_focused()
    page.keyboard.type("5")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Replay: a dry run")).to_be_visible()
    assert job_facts(site.engine, gone).state == "dead"
    expect(page.get_by_label("Reason")).to_be_focused()
    page.keyboard.type("there is room again")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="Done: dead_letters.replay")).to_be_visible()
    assert job_facts(site.engine, gone).state == "scheduled"
    assert complaints == []


def test_the_overview_follows_what_happens(context: BrowserContext, site: Site) -> None:
    page = context.new_page()
    complaints = quietly(page)
    enter(page, site, Role.VIEWER)
    assert page.get_by_role("link", name="Access").count() == 0
    expect(page.locator("[data-live-state]")).to_contain_text("live,")
    state = page.locator('[data-live="queue.low.state"]')
    expect(state).to_have_text("open")
    with site.engine.begin() as tx:
        pause(tx, Scope.QUEUE, "low", reason="for a test")
    expect(state).to_have_text("paused")
    expect(state).to_have_attribute("data-mood", "look")
    with site.engine.begin() as tx:
        tx.execute(text("DELETE FROM dispatch_rules WHERE scope = 'queue'"))
    expect(state).to_have_text("open")
    row = page.get_by_role("row", name="default@")
    expect(row).to_contain_text("default")
    expect(page.get_by_role("row", name="dispatcher@")).to_contain_text("ago")
    assert complaints == []
