"""The letters that the product sends, as their readers see them, with invented facts."""

from collections.abc import Mapping
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from app.api.browser import load_session, token_of
from app.api.session import EngineDep, SettingsDep
from app.console.pages import page, redirect, to_sign_in
from app.console.visit import ConsoleRoute
from app.mailing.letters import LETTERS, TOPIC_NAMES, Letter
from app.mailing.message import headers_of, message_id, sender_of
from app.mailing.rendering import Rendered, public_link, render
from app.mailing.samples import SAMPLES
from app.mailing.unsubscribe import PATH
from app.sessions import Session
from app.settings import Settings

router = APIRouter(prefix="/mail-templates", route_class=ConsoleRoute)

HOME = "/console/mail-templates"

MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'; sandbox"
)
"""A mail has styles of its own, and nothing else: no script, image, font or form, and no way to our pages."""
MAIL_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": MAIL_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_JOB = UUID("01980000-0000-7000-8000-000000000000")


@router.get("")
def templates_page(request: Request, engine: EngineDep, settings: SettingsDep) -> Response:
    """Every template with its subject."""
    session = _session(request, engine)
    if session is None:
        return to_sign_in(request)
    listed = [
        {
            "name": name,
            "subject": _render(SAMPLES[name], settings).subject,
            "topic": TOPIC_NAMES[letter.topic] if letter.topic else None,
        }
        for name, letter in LETTERS.items()
    ]
    return page(request, "mail-templates.html", session, letters=listed)


@router.get("/{name}")
def template_page(
    request: Request, name: str, engine: EngineDep, settings: SettingsDep
) -> Response:
    """One template: the HTML in a frame that can do nothing, the text, the headers."""
    session = _session(request, engine)
    if session is None:
        return to_sign_in(request)
    letter = SAMPLES.get(name)
    if letter is None:
        return redirect(HOME)
    rendered = _render(letter, settings)
    sender = sender_of(settings.mail_from)
    headers = {
        **headers_of(rendered, sender, message_id(str(_JOB), sender), _link(letter, settings)),
        "To": "you@example.com",
    }
    return page(
        request,
        "mail-template.html",
        session,
        frames=True,
        name=name,
        rendered=rendered,
        headers=headers,
    )


@router.get("/{name}/html")
def template_html(
    request: Request, name: str, engine: EngineDep, settings: SettingsDep
) -> Response:
    """The HTML part, for the frame."""
    session = _session(request, engine)
    if session is None:
        return to_sign_in(request)
    letter = SAMPLES.get(name)
    if letter is None:
        return redirect(HOME)
    return HTMLResponse(_render(letter, settings).html, headers=dict(MAIL_HEADERS))


def _render(letter: Letter, settings: Settings) -> Rendered:
    return render(letter, settings, unsubscribe_url=_link(letter, settings))


def _link(letter: Letter, settings: Settings) -> str | None:
    """As in a mail, with a token that is none."""
    return public_link(settings, f"{PATH}?token=sample") if letter.topic else None


def _session(request: Request, engine: EngineDep) -> Session | None:
    token = token_of(request)
    return None if token is None else load_session(engine, token)
