"""Mails of all tenants, and what became of them."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from app.api.session import Tx
from app.console.lists import Listing, shown
from app.console.records import MAILS
from app.console.visit import ConsoleRoute, Reading
from app.mailing.letters import LETTERS
from app.mailing.record import Status

router = APIRouter(prefix="/mail-log", route_class=ConsoleRoute)

LIST = Listing(
    path="/console/mail-log",
    statement=MAILS,
    filters=("status", "template"),
    hidden=("recipient", "subject", "answer"),
)
Words = Annotated[str, Query(max_length=200)]


@router.get("")
def mails_page(
    visit: Reading,
    tx: Tx,
    tenant: Words = "",
    status: Words = "",
    template: Words = "",
    before: Words = "",
) -> Response:
    """The newest first."""
    found = shown(visit, tx, LIST, tenant=tenant, before=before, status=status, template=template)
    return visit.page(
        "mail-log.html", tx, found=found, statuses=list(Status), templates=sorted(LETTERS)
    )
