"""Everything below /console."""

from fastapi import APIRouter, Response

from app.console import imports, mail_templates, signing_in
from app.console.pages import HOME, assets, redirect

router = APIRouter(prefix="/console", include_in_schema=False)
router.include_router(signing_in.router)
router.include_router(imports.router)
router.include_router(mail_templates.router)


@router.get("")
def home() -> Response:
    """There is one page so far."""
    return redirect(HOME)


@router.get("/static/{version}/{name:path}")
def static(version: str, name: str) -> Response:
    """A style, script or font."""
    return assets().answer(version, name)
