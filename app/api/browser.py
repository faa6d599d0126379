"""A browser that is signed in to the console: its cookie, and the proof that a request is our page's own.

A cookie comes along whoever made the browser send the request, so it counts only for what changes nothing;
a change needs the session's CSRF token in a header too, which another site can neither read nor set.
"""

import secrets
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Request
from sqlalchemy import Engine

from app.errors import Forbidden, Unauthenticated
from app.roles import Role
from app.sessions import Session, csrf_token, session_of
from app.settings import Settings

CSRF_HEADER = "X-CSRF-Token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def tenant_of_browser(request: Request, engine: Engine) -> UUID:
    """The tenant of the request's session. Raises Unauthenticated, Forbidden."""
    token = token_of(request)
    if token is None:
        raise Unauthenticated("Send an API key in the header 'Authorization: Bearer <key>'.")
    session = load_session(engine, token)
    if session is None:
        raise Unauthenticated("The session is over. Sign in again.", code="session_over")
    if session.role is not Role.TENANT:
        raise Forbidden("You are signed in as an operator. This needs the key of a tenant.")
    if request.method not in SAFE_METHODS:
        check_csrf(token, request.headers.get(CSRF_HEADER, ""))
    return session.tenant_id


def cookie_name(settings: Settings) -> str:
    """Where the site is HTTPS, one that browsers take from it alone, and only with Secure and Path=/."""
    return "__Host-millrace" if is_https(settings) else "millrace"


def is_https(settings: Settings) -> bool:
    """Whether browsers reach us by HTTPS, which a proxy in front of us may speak."""
    return urlsplit(settings.public_url).scheme == "https"


def token_of(request: Request) -> str | None:
    """What the session's cookie holds, if there is one."""
    return request.cookies.get(cookie_name(request.app.state.settings))


def load_session(engine: Engine, token: str) -> Session | None:
    """The session of that token, unless it is over."""
    with engine.connect() as connection:
        return session_of(connection, token)


def check_csrf(token: str, sent: str) -> None:
    """Raises Forbidden unless `sent` is the token's own."""
    if not secrets.compare_digest(csrf_token(token).encode(), sent.encode()):
        raise Forbidden(
            f"A signed-in browser's changes need the page's token in the header '{CSRF_HEADER}'. "
            "Load the page again.",
            code="csrf",
        )


def check_origin(request: Request) -> None:
    """Raises Forbidden for a request that another site made the browser send."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is None and origin is not None:
        ours = {request.headers.get("host"), urlsplit(request.app.state.settings.public_url).netloc}
        site = "same-origin" if urlsplit(origin).netloc in ours else "cross-site"
    if site not in {None, "none", "same-origin"}:
        raise Forbidden("This has to come from our own page.", code="csrf")
