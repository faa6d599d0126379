"""What operators did."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Response

from app.api.session import Tx
from app.console.visit import ConsoleRoute, Reading, an_id, read_time
from app.errors import Unprocessable
from app.operations import audit

router = APIRouter(prefix="/audit", route_class=ConsoleRoute)

SHOWN = 100
Words = Annotated[str, Query(max_length=200)]


@router.get("")
def audit_page(
    visit: Reading,
    tx: Tx,
    actor: Words = "",
    action: Words = "",
    thing: Words = "",
    since: Words = "",
    until: Words = "",
    before: Words = "",
) -> Response:
    """The newest first, by who, what, which thing and when."""
    asked = {"actor": actor, "action": action, "thing": thing, "since": since, "until": until}
    problem, entries = "", []
    try:
        wanted = audit.Wanted(
            actor=actor.strip() or None,
            action=action.strip() or None,
            object_id=thing.strip() or None,
            since=read_time(since),
            until=read_time(until),
        )
        older = an_id(before, "entry") if before else None
        entries = audit.page(tx, wanted, before=older, limit=SHOWN + 1)
    except Unprocessable as wrong:
        problem = str(wrong)
    more = None
    if len(entries) > SHOWN:
        more = "/console/audit?" + urlencode({**asked, "before": entries[SHOWN - 1].id})
    return visit.page(
        "audit.html", tx, asked=asked, problem=problem, entries=entries[:SHOWN], more=more
    )
