"""Signing in and out, and what the page remembers of the person."""

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Site, sign_in
from tests.support.customers import Customer


def test_a_key_lets_in_and_signing_out_lets_nobody_back_in(
    context: BrowserContext, customer: Customer
) -> None:
    page = context.new_page()
    page.goto("/console")
    expect(page.get_by_label("API key")).to_be_focused()
    page.keyboard.type("mr_not-a-key")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").first).to_contain_text("no such API key")
    expect(page.get_by_label("API key")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("API key").fill(customer.key)
    page.keyboard.press("Enter")
    expect(page).to_have_url("/console/imports")
    assert page.evaluate("document.cookie") == ""
    assert customer.key not in page.content()
    (cookie,) = context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")

    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url("/console/sign-in")
    assert context.cookies() == []
    page.goto("/console/imports")
    expect(page.get_by_label("API key")).to_be_visible()


def test_who_comes_by_another_sites_link_is_still_signed_in(
    context: BrowserContext, customer: Customer, site: Site
) -> None:
    page = context.new_page()
    sign_in(page, customer)
    page.route(
        "http://elsewhere.example/",
        lambda route: route.fulfill(
            content_type="text/html", body=f"<a href='{site.url}/console/imports'>go</a>"
        ),
    )
    page.goto("http://elsewhere.example/")
    page.get_by_text("go").click()
    expect(page).to_have_url(f"{site.url}/console/imports")
    expect(page.get_by_role("heading", name="Import a file")).to_be_visible()


def test_the_colors_are_the_systems_until_someone_chooses(page: Page) -> None:
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    page.emulate_media(color_scheme="light")
    light = page.evaluate(paper)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(paper)
    assert light != dark
    page.get_by_role("radio", name="Light").check()
    assert page.evaluate(paper) == light
    page.reload()
    assert page.evaluate(paper) == light
    expect(page.get_by_role("radio", name="Light")).to_be_checked()
    page.get_by_role("radio", name="Auto").check()
    assert page.evaluate(paper) == dark


def test_nothing_moves_for_who_asked_for_that(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    moving = page.evaluate("document.getAnimations().length")
    assert moving == 0
    duration = page.evaluate(
        "getComputedStyle(document.querySelector('.button')).transitionDuration"
    )
    assert duration == "0s"
