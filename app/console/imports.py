"""The imports' pages: a new one and the earlier ones; one import, live."""

from uuid import UUID

from fastapi import APIRouter, Request, Response

from app.api.browser import load_session, token_of
from app.api.imports import get_import, list_imports
from app.api.session import EngineDep, SettingsDep, Tx
from app.console.pages import OVERVIEW, page, redirect, to_sign_in
from app.console.visit import ConsoleRoute
from app.errors import NotFound
from app.sessions import Session

router = APIRouter(route_class=ConsoleRoute)

EARLIER = 50
"""How many earlier imports the page begins with."""
DIRECT_ABOVE_BYTES = 50 * 1024 * 1024
"""Larger files go to the object store in parts, without crossing the API."""


@router.get("/imports")
def imports_page(request: Request, engine: EngineDep, tx: Tx, settings: SettingsDep) -> Response:
    """Drop a file, see what is in it, run it; below, the earlier imports."""
    session = _session(request, engine)
    if session is None:
        return to_sign_in(request)
    if session.role.runs_the_product:
        return redirect(OVERVIEW)
    earlier = list_imports(session.tenant_id, tx, None, EARLIER)
    facts = {
        "direct_above": DIRECT_ABOVE_BYTES,
        "largest": settings.upload_max_bytes,
        "earlier": earlier.model_dump(mode="json"),
    }
    return page(request, "imports.html", session, facts=facts)


@router.get("/imports/{import_id}")
def import_page(request: Request, import_id: str, engine: EngineDep, tx: Tx) -> Response:
    """One import."""
    session = _session(request, engine)
    if session is None:
        return to_sign_in(request)
    if session.role.runs_the_product:
        return redirect(OVERVIEW)
    try:
        shown = get_import(UUID(import_id), session.tenant_id, tx)
    except (NotFound, ValueError):
        return page(request, "not-found.html", session, status=404)
    return page(request, "import.html", session, facts=shown.model_dump(mode="json"))


def _session(request: Request, engine: EngineDep) -> Session | None:
    token = token_of(request)
    return None if token is None else load_session(engine, token)
