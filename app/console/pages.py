"""Pages from templates. Everything that a template prints is escaped, and an unknown name is an error."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from app.api.browser import token_of
from app.console import words
from app.console.assets import Assets, load_assets
from app.console.headers import page_headers
from app.plurals import counted
from app.sessions import Session, csrf_token

HOME = "/console/imports"
"""Where tenants begin."""
OVERVIEW = "/console/overview"
"""Where operators do."""


@lru_cache(maxsize=1)
def assets() -> Assets:
    """The process's assets, read when the first page asks for them."""
    return load_assets()


@lru_cache(maxsize=1)
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("app.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for write in (
        words.moment,
        words.span,
        words.ago,
        words.between,
        words.figure,
        words.short,
        counted,
    ):
        made.filters[write.__name__] = write
    return made


def page(
    request: Request,
    template: str,
    session: Session | None = None,
    *,
    status: int = 200,
    frames: bool = False,
    again: Mapping[str, str] | None = None,
    **facts: object,
) -> Response:
    """The page, with the headers that all of them have; `again` says when to come again."""
    token = token_of(request)
    content = (
        _templates()
        .get_template(template)
        .render(
            asset=assets().url,
            session=session,
            now=datetime.now(UTC),
            csrf=csrf_token(token) if session is not None and token is not None else "",
            **facts,
        )
    )
    ours = page_headers(request.app.state.settings, frames=frames)
    return HTMLResponse(content, status_code=status, headers={**ours, **(again or {})})


def to_sign_in(request: Request) -> Response:
    """Sign in first, and come back here; where a form was sent, to the beginning: nothing is there to be looked at."""
    wish = request.url.path if request.method == "GET" else HOME
    return redirect(f"/console/sign-in?next={wish}")


def redirect(path: str) -> Response:
    """To one of our own pages, by GET."""
    return RedirectResponse(path, status_code=303, headers={"Cache-Control": "no-store"})


def safe_next(path: str) -> str:
    """Where to go after signing in: a page of the console, whatever the address bar says."""
    ours = path.startswith("/console/") and not set(path) & set("\\\r\n\t?#")
    return path if ours and "//" not in path else HOME
