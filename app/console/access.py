"""Who has a key to run the product; for admins."""

from fastapi import APIRouter, Response

from app.api.session import Tx
from app.console.visit import Acting, ConsoleRoute, Reading, Why, an_id, back
from app.keys import operator_keys
from app.operations.access import revoke_key
from app.roles import Role

router = APIRouter(prefix="/access", route_class=ConsoleRoute)


@router.get("")
def access_page(visit: Reading, tx: Tx) -> Response:
    """The keys, without themselves. They are made at the command line alone."""
    visit.actor.require(Role.ADMIN)
    return visit.page("access.html", tx, keys=operator_keys(tx))


@router.post("/{key_id}/revoke")
def revoke(key_id: str, visit: Acting, tx: Tx, reason: Why = "") -> Response:
    """Put an operator's key out of force, and end its sessions."""
    wanted = an_id(key_id, "key")
    entry = revoke_key(tx, visit.actor, wanted, reason=reason, operators_only=True)
    return back("/console/access", entry)
