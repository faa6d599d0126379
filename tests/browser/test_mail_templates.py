"""Every letter as its readers see it: in a frame that can do nothing, light and dark, found by axe to be fine."""

from playwright.sync_api import Page, expect

from app.mailing.letters import LETTERS
from tests.browser.conftest import Site, picture_in_each_look, sign_in
from tests.browser.looks import assert_fine
from tests.support.customers import Customer


def test_each_template_is_shown_with_text_and_headers(page: Page) -> None:
    page.goto("/console/mail-templates")
    for name in LETTERS:
        expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()
    page.get_by_role("link", name="import_finished", exact=True).click()
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading")).to_have_text(
        "The import of customers <spring>.csv is finished"
    )
    expect(page.locator(".mail-text")).to_contain_text("Rejected rows: http")
    expect(page.get_by_role("row", name="Auto-Submitted")).to_contain_text("auto-generated")
    page.goto("/console/mail-templates/daily_report")
    expect(page.get_by_role("row", name="List-Unsubscribe").first).to_contain_text(
        "/mail/unsubscribe"
    )
    page.goto("/console/mail-templates/none")
    page.wait_for_url("**/console/mail-templates")


def test_the_mail_can_do_nothing_in_its_frame(page: Page) -> None:
    answer = page.request.get("/console/mail-templates/welcome/html")
    policy = answer.headers["content-security-policy"]
    assert {"default-src 'none'", "frame-ancestors 'self'", "sandbox"} <= set(policy.split("; "))
    page.goto("/console/mail-templates/welcome")
    assert page.locator("iframe").get_attribute("sandbox") == ""


def test_pages_and_mails_are_accessible(
    looked_at: Page,
    site: Site,
    customer: Customer,
) -> None:
    page = looked_at
    sign_in(page, customer)
    page.goto("/console/mail-templates")
    assert_fine(page)
    picture_in_each_look(page, "mail-templates")
    for name in LETTERS:
        page.goto(f"/console/mail-templates/{name}")
        mail = page.frame_locator("iframe").get_by_role("heading")
        expect(mail).to_be_visible()
        picture_in_each_look(page, f"mail-{name}")
        html = page.request.get(f"/console/mail-templates/{name}/html").text()
        page.set_content(html)
        assert_fine(page)
    page.goto("/mail/unsubscribe?token=none")
    assert_fine(page)
