"""Where the links at the foot of mails lead. Signed links are all the leave that is needed: no sign-in.

GET changes nothing, since programs that look at mail follow links; POST does, also by the mail program's
own button (RFC 8058), which sends `List-Unsubscribe=One-Click` and no cookie.
"""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response

from app.api.bodies import BoundedRoute
from app.api.session import Tx
from app.console.pages import page
from app.errors import NotFound
from app.mailing import suppressions
from app.mailing.letters import TOPIC_NAMES
from app.mailing.unsubscribe import PATH, Wish, read_token

router = APIRouter(include_in_schema=False, route_class=BoundedRoute)

Token = Annotated[str, Query(max_length=5000)]


@router.get(PATH)
def ask(request: Request, tx: Tx, token: Token = "") -> Response:
    """The question, or the way back for who has unsubscribed."""
    wish = _wish(tx, token)
    if wish is None:
        return _unknown(request)
    found = suppressions.find(tx, wish.tenant_id, wish.address, wish.topic)
    return _page(request, wish, token, out=found is not None and found.topic is not None)


@router.post(PATH)
def answer(
    request: Request, tx: Tx, token: Token = "", back: Annotated[str, Form()] = ""
) -> Response:
    """Unsubscribe; with `back`, subscribe again. Safe to repeat."""
    wish = _wish(tx, token)
    if wish is None:
        return _unknown(request)
    change = suppressions.resubscribe if back else suppressions.unsubscribe
    change(tx, wish.tenant_id, wish.address, wish.topic)
    return _page(request, wish, token, out=not back)


def _wish(tx: Tx, token: str) -> Wish | None:
    try:
        return read_token(tx, token)
    except NotFound:
        return None


def _page(request: Request, wish: Wish, token: str, *, out: bool) -> Response:
    name = TOPIC_NAMES[wish.topic]
    return page(
        request,
        "unsubscribe.html",
        topic=name,
        address=wish.address,
        action=f"{PATH}?token={token}",
        out=out,
    )


def _unknown(request: Request) -> Response:
    return page(request, "unsubscribe-unknown.html", status=404)
