"""A session of the console stands for its key, in one browser, for a while; a cookie alone changes nothing."""

from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import Engine, text

from app.keys import revoke_key
from app.mailing.samples import SAMPLES
from app.sessions import csrf_token
from tests.support.customers import Customer
from tests.support.web import Web

COOKIE = "millrace"
UNSAFE = "/v1/dead-letters/discard"
"""Any call that changes something: what it answers to an empty body is not the question here."""


@pytest.fixture
def visitor(web: Web) -> Iterator[httpx.Client]:
    """Nobody yet."""
    with web.client(None) as client:
        yield client


@pytest.fixture
def browser(visitor: httpx.Client, tenant: Customer) -> httpx.Client:
    """Signed in."""
    answer = visitor.post("/console/session", data={"key": tenant.key})
    assert answer.status_code == 303
    return visitor


def test_a_key_becomes_a_cookie_that_scripts_and_other_sites_cannot_use(
    visitor: httpx.Client, tenant: Customer
) -> None:
    answer = visitor.post("/console/session", data={"key": f" {tenant.key}\n"})
    assert answer.headers["location"] == "/console/imports"
    flags = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/", "max-age=43200"} <= flags
    assert tenant.key not in answer.headers["set-cookie"]
    assert visitor.get("/v1/imports").status_code == 200
    assert visitor.get("/console/imports").status_code == 200


@pytest.mark.parametrize("key", ["", "mr_wrong"])
def test_a_wrong_key_gets_nothing(visitor: httpx.Client, key: str) -> None:
    answer = visitor.post("/console/session", data={"key": key})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "no such API key" in answer.text


def test_only_a_hash_is_kept(browser: httpx.Client, engine: Engine) -> None:
    with engine.connect() as tx:
        rows = tx.execute(text("SELECT * FROM console_sessions")).all()
    assert len(rows) == 1
    assert browser.cookies[COOKIE] not in str(rows)


@pytest.mark.parametrize("headers", [{}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": "0" * 64}])
def test_a_change_needs_more_than_the_cookie(
    browser: httpx.Client, headers: dict[str, str]
) -> None:
    answer = browser.post(UNSAFE, json={}, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:millrace:problem:csrf")


def test_a_change_with_the_pages_token_goes_on(browser: httpx.Client) -> None:
    token = csrf_token(browser.cookies[COOKIE])
    assert token in browser.get("/console/imports").text
    assert browser.get("/console/session").json()["csrf"] == token
    answer = browser.post(UNSAFE, json={}, headers={"X-CSRF-Token": token})
    assert answer.status_code not in {401, 403}


def test_another_sessions_token_is_no_good(
    web: Web, browser: httpx.Client, tenant: Customer
) -> None:
    with web.client(None) as other:
        other.post("/console/session", data={"key": tenant.key})
        token = csrf_token(other.cookies[COOKIE])
    answer = browser.post(UNSAFE, json={}, headers={"X-CSRF-Token": token})
    assert answer.status_code == 403


def test_a_session_sees_its_own_tenant_only(
    browser: httpx.Client, web: Web, stranger: Customer
) -> None:
    with web.client(stranger.key) as client:
        made = client.post(
            "/v1/imports",
            content=b"email\na@example.com\n",
            headers={"Content-Type": "text/csv"},
        )
    assert browser.get(made.headers["location"]).status_code == 404
    page = browser.get(f"/console/imports/{made.json()['id']}")
    assert page.status_code == 404
    assert "There is no such import" in page.text


def test_signing_out_ends_it_for_good(browser: httpx.Client) -> None:
    cookie = browser.cookies[COOKIE]
    assert browser.post("/console/sign-out", data={"csrf": "wrong"}).status_code == 403
    answer = browser.post("/console/sign-out", data={"csrf": csrf_token(cookie)})
    assert answer.headers["location"] == "/console/sign-in"
    assert COOKIE not in browser.cookies
    kept = browser.get("/v1/imports", headers={"Cookie": f"{COOKIE}={cookie}"})
    assert kept.status_code == 401


def test_its_time_ends_it(browser: httpx.Client, engine: Engine) -> None:
    with engine.begin() as tx:
        tx.execute(text("UPDATE console_sessions SET expires_at = clock_timestamp()"))
    assert browser.get("/v1/imports").json()["type"] == "urn:millrace:problem:session_over"
    page = browser.get("/console/imports")
    assert page.headers["location"] == "/console/sign-in?next=/console/imports"


def test_the_end_of_its_key_ends_it(
    browser: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    with engine.begin() as tx:
        revoke_key(tx, tenant.key_id)
    assert browser.get("/v1/imports").status_code == 401


def test_what_is_over_is_cleared_away(
    browser: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    with engine.begin() as tx:
        tx.execute(text("UPDATE console_sessions SET expires_at = clock_timestamp()"))
    browser.post("/console/session", data={"key": tenant.key})
    with engine.connect() as tx:
        assert tx.execute(text("SELECT count(*) FROM console_sessions")).scalar_one() == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://elsewhere.example"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
    ],
)
def test_no_other_site_can_sign_a_browser_in(
    visitor: httpx.Client, tenant: Customer, headers: dict[str, str]
) -> None:
    answer = visitor.post("/console/session", data={"key": tenant.key}, headers=headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "wish",
    [
        *("https://elsewhere.example/", "//elsewhere.example", "/console//elsewhere.example"),
        *("/console/\\elsewhere.example", "/v1/imports", "javascript:alert(1)", ""),
    ],
)
def test_signing_in_leads_to_the_console_only(
    visitor: httpx.Client, tenant: Customer, wish: str
) -> None:
    answer = visitor.post("/console/session", data={"key": tenant.key, "next": wish})
    assert answer.headers["location"] == "/console/imports"


def test_an_api_key_needs_no_token(web: Web, tenant: Customer) -> None:
    with web.client(tenant.key) as client:
        assert client.post(UNSAFE, json={}).status_code not in {401, 403}


def test_every_letter_can_be_looked_at(browser: httpx.Client) -> None:
    for name in SAMPLES:
        shown = browser.get(f"/console/mail-templates/{name}")
        assert (shown.status_code, "Subject" in shown.text) == (200, True), name
        assert browser.get(f"/console/mail-templates/{name}/html").status_code == 200


def test_what_there_is_not_speaks_of_no_form(browser: httpx.Client) -> None:
    assert "Nothing was changed" not in browser.get("/console/nothing").text
    elsewhere = {"Origin": "https://elsewhere.example"}
    refused = browser.post("/console/session", data={"key": "x"}, headers=elsewhere)
    assert (refused.status_code, "Nothing was changed" in refused.text) == (403, True)


def test_pages_forbid_whatever_is_not_ours(browser: httpx.Client) -> None:
    headers = browser.get("/console/imports").headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["font-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert (policy["require-trusted-types-for"], policy["trusted-types"]) == ("'script'", "'none'")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


def test_assets_are_kept_for_good_and_answer_to_any_version(browser: httpx.Client) -> None:
    page = browser.get("/console/imports").text
    address = page.split('src="')[1].split('"')[0]
    mine = browser.get(address)
    assert mine.headers["content-type"].startswith("text/javascript")
    assert "immutable" in mine.headers["cache-control"]
    other = browser.get(address.replace(address.split("/")[3], "another"))
    assert (other.content, other.headers["cache-control"]) == (mine.content, "no-store")
    for nothing in ("none.js", "%2e%2e%2fpages.py", "js%2f..%2f..%2fpages.py"):
        assert browser.get(f"/console/static/x/{nothing}").status_code == 404, nothing
