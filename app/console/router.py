"""Everything below /console."""

from fastapi import APIRouter, Request, Response

from app.api.browser import load_session, token_of
from app.api.session import EngineDep
from app.console import (
    access,
    audit_log,
    dispatch,
    import_log,
    imports,
    incident_actions,
    incidents,
    job_actions,
    jobs,
    mail_log,
    mail_templates,
    overview,
    schedules,
    signing_in,
    webhooks,
)
from app.console.pages import HOME, OVERVIEW, assets, redirect
from app.console.visit import trouble

OPERATORS = (
    overview,
    jobs,
    job_actions,
    incidents,
    incident_actions,
    dispatch,
    schedules,
    import_log,
    webhooks,
    mail_log,
    audit_log,
    access,
)
"""Pages of who runs the product."""

router = APIRouter(prefix="/console", include_in_schema=False)
router.include_router(signing_in.router)
router.include_router(imports.router)
router.include_router(mail_templates.router)
for module in OPERATORS:
    router.include_router(module.router)


@router.get("")
def home(request: Request, engine: EngineDep) -> Response:
    """Where the one who is signed in begins."""
    token = token_of(request)
    session = None if token is None else load_session(engine, token)
    return redirect(OVERVIEW if session is not None and session.role.runs_the_product else HOME)


@router.get("/static/{version}/{name:path}")
def static(version: str, name: str) -> Response:
    """A style, script or font."""
    return assets().answer(version, name)


@router.get("/{rest:path}")
def nothing(rest: str, request: Request) -> Response:
    """Whatever isn't above, for people."""
    if not rest:
        return redirect("/console")
    return trouble(request, 404, "Not found", f"The console has no page /console/{rest}.")
