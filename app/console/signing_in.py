"""Sign in with an API key, once; sign out."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import JSONResponse

from app.api.browser import (
    check_csrf,
    check_origin,
    cookie_name,
    is_https,
    load_session,
    token_of,
)
from app.api.problems import when_again
from app.api.request_id import request_id
from app.api.session import EngineDep, SettingsDep, Tx
from app.console.door import address_of, check_patience, count_failure
from app.console.pages import HOME, OVERVIEW, page, redirect, safe_next
from app.console.visit import ConsoleRoute
from app.errors import TooManyRequests
from app.operations.access import signed_in
from app.sessions import LIFETIME, csrf_token, end_session, open_session
from app.settings import Settings

router = APIRouter(route_class=ConsoleRoute)

NOT_KEPT = {"Cache-Control": "no-store"}


@router.get("/sign-in")
def show_sign_in(request: Request, next: str = HOME) -> Response:  # noqa: A002 - the address's word
    """The form. The cookie of who is signed in doesn't come along from another site's link (SameSite):
    the page's script asks again, from our own site, and goes on.
    """
    return page(request, "sign-in.html", next=safe_next(next), error=None)


@router.get("/session")
def is_signed_in(request: Request, engine: EngineDep) -> Response:
    """Whose session it is, with its CSRF token; empty when signed out. Other sites can't read it."""
    token = token_of(request)
    session = None if token is None else load_session(engine, token)
    if token is None or session is None:
        return JSONResponse({}, headers=NOT_KEPT)
    facts = {"csrf": csrf_token(token), "tenant": str(session.tenant_id)}
    return JSONResponse(facts, headers=NOT_KEPT)


@router.post("/session")
def sign_in(
    request: Request,
    tx: Tx,
    settings: SettingsDep,
    key: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = HOME,  # noqa: A002
) -> Response:
    """Exchange the key for a cookie."""
    check_origin(request)
    address = address_of(request)
    try:
        check_patience(tx, address)
    except TooManyRequests as refused:
        return _again(request, next, str(refused), refused.status, when_again(refused))
    opened = open_session(tx, key.strip())
    if opened is None:
        count_failure(tx, address)
        error = "There is no such API key, or it was revoked. Check that all of it was copied."
        return _again(request, next, error, 401)
    home = HOME
    if opened.key.role.runs_the_product:
        signed_in(tx, opened.key, request_id(request), address=address)
        home = OVERVIEW
    wish = safe_next(next)
    answer = redirect(home if wish == HOME else wish)
    _set_cookie(answer, settings, opened.token, int(LIFETIME.total_seconds()))
    return answer


@router.post("/sign-out")
def sign_out(
    request: Request, tx: Tx, settings: SettingsDep, csrf: Annotated[str, Form()] = ""
) -> Response:
    """End the session, here and in the database."""
    token = token_of(request)
    if token is not None:
        check_csrf(token, csrf)
        end_session(tx, token)
    answer = redirect("/console/sign-in")
    _set_cookie(answer, settings, "", 0)
    return answer


def _again(
    request: Request,
    wish: str,
    error: str,
    status: int,
    again: Mapping[str, str] | None = None,
) -> Response:
    return page(
        request,
        "sign-in.html",
        status=status,
        again=again,
        next=safe_next(wish),
        error=error,
    )


def _set_cookie(answer: Response, settings: Settings, token: str, seconds: int) -> None:
    answer.set_cookie(
        cookie_name(settings),
        token,
        max_age=seconds,
        path="/",
        secure=is_https(settings),
        httponly=True,
        samesite="strict",
    )
