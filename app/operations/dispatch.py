"""Whose jobs are sent: queues, kinds and tenants are paused, resumed and limited."""

from contextlib import suppress
from uuid import UUID

from sqlalchemy import Connection

from app.broker.topology import Queue
from app.errors import NotFound
from app.keys import find_tenant
from app.ledger import rules
from app.ledger.contract import Catalog
from app.ledger.rules import Scope, load_rules
from app.operations.actor import Actor
from app.operations.audit import Thing, checked_reason, record
from app.roles import Role


def pause(
    tx: Connection, actor: Actor, catalog: Catalog, scope: Scope, name: str, *, reason: str
) -> UUID:
    """Send none of its jobs until it is resumed; what was sent already still runs. Returns the entry in the
    audit log. Raises Forbidden, NotFound for what isn't there, and Unprocessable without a reason.
    """
    actor.require(Role.OPERATOR)
    known = known_name(tx, catalog, scope, name)
    rules.pause(tx, scope, known, reason=checked_reason(reason))
    return record(tx, actor, f"{scope}.pause", _thing(scope, known), reason=reason)


def resume(
    tx: Connection, actor: Actor, catalog: Catalog, scope: Scope, name: str, *, reason: str
) -> UUID:
    """Send its jobs again; also those of a kind that the code no longer has. As above."""
    actor.require(Role.OPERATOR)
    if (scope, name) not in load_rules(tx).by_name:
        name = known_name(tx, catalog, scope, name)
    rules.resume(tx, scope, name)
    return record(tx, actor, f"{scope}.resume", _thing(scope, name), reason=reason)


def limit(
    tx: Connection,
    actor: Actor,
    catalog: Catalog,
    scope: Scope,
    name: str,
    *,
    max_running: int | None,
    weight: int | None,
    reason: str,
) -> UUID:
    """How many of its jobs may be in flight, and its weight; for admins. Without either they go, also those of a kind that
    the code no longer has. Raises Forbidden, and NotFound for what isn't there.
    """
    actor.require(Role.ADMIN)
    lifted = max_running is None and weight is None
    if not lifted or (scope, name) not in load_rules(tx).by_name:
        name = known_name(tx, catalog, scope, name)
    rules.set_limits(tx, scope, name, max_running=max_running, weight=weight)
    facts = {"max_running": max_running, "weight": weight}
    return record(tx, actor, f"{scope}.limit", _thing(scope, name), reason=reason, facts=facts)


def known_name(tx: Connection, catalog: Catalog, scope: Scope, name: str) -> str:
    """As rules call it: a tenant by its id. Raises NotFound, which says what there is."""
    if scope is Scope.TENANT:
        return str(find_tenant(tx, name))
    known = {
        Scope.QUEUE: [queue.value for queue in Queue],
        Scope.KIND: sorted(catalog),
        Scope.PLAN: ["trial", "active", "expired"],
    }[scope]
    if name not in known:
        raise NotFound(f"There is no {scope} {name!r}. {scope.capitalize()}s: {', '.join(known)}.")
    return name


def _thing(scope: Scope, name: str) -> Thing:
    tenant_id = None
    if scope is Scope.TENANT:
        with suppress(ValueError):
            tenant_id = UUID(name)
    return Thing(object=scope.value, id=name, tenant_id=tenant_id)
