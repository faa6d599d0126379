"""Imports of all tenants, for operators."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from app.api.import_view import load_import, view_of
from app.api.session import Tx
from app.console.lists import Listing, shown
from app.console.records import IMPORTS, owner
from app.console.visit import ConsoleRoute, Reading, an_id
from app.errors import NotFound

router = APIRouter(prefix="/import-log", route_class=ConsoleRoute)

STATUSES = ("queued", "running", "succeeded", "failed", "cancelled")
LIST = Listing(
    path="/console/import-log",
    statement=IMPORTS,
    filters=("status",),
    hidden=("filename", "error"),
)
Words = Annotated[str, Query(max_length=200)]


@router.get("")
def imports_page(
    visit: Reading, tx: Tx, tenant: Words = "", status: Words = "", before: Words = ""
) -> Response:
    """The newest first."""
    found = shown(visit, tx, LIST, tenant=tenant, before=before, status=status)
    return visit.page("import-log.html", tx, found=found, statuses=STATUSES)


@router.get("/{import_id}")
def import_page(import_id: str, visit: Reading, tx: Tx) -> Response:
    """One, and the jobs that it is made of."""
    wanted = an_id(import_id, "import")
    tenant = owner(tx, "import", wanted)
    row = load_import(tx, wanted)
    if row is None:
        raise NotFound(f"There is no import {wanted}.")
    view = view_of(row)
    return visit.page(
        "import-one.html",
        tx,
        one=view,
        tenant=tenant,
        job_id=row.job_id,
        filename=visit.hide(view.filename),
        columns=view.columns if visit.sees_data else [],
        error=visit.error(view.error.model_dump()) if view.error else None,
    )
