"""A tenant that goes for good: refused or begun, its jobs let go of, and in the end its own row.

Between the beginning and the end `app.erasing` takes all the rest. Whoever is killed in between begins again.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from app.db import transaction
from app.errors import Conflict, Forbidden, NotFound, Unprocessable
from app.ids import SYSTEM_TENANT
from app.keys import find_tenant
from app.ledger import rules
from app.ledger.aftermath import Aftermaths
from app.ledger.cancel import cancel as cancel_job
from app.ledger.erase import in_flight
from app.ledger.rules import Scope
from app.operations.actor import Actor
from app.operations.audit import Thing, record
from app.roles import Role

WHY_PAUSED = "It is being deleted."
LOOK_SECONDS = 0.5
_GONE = "tenant.deleted"

_NAME = text("SELECT name FROM tenants WHERE id = :id FOR NO KEY UPDATE")
_REVOKE = text("""
    UPDATE api_keys SET revoked_at = clock_timestamp()
    WHERE tenant_id = :id AND revoked_at IS NULL
""")
_KNOWN = text("SELECT EXISTS (SELECT FROM audit_log WHERE object_id = :id AND action = :action)")
# Whoever adds rows of the tenant's at this moment has locked its row, or finds it gone.
_LOCK = text("SELECT FROM tenants WHERE id = :id FOR UPDATE")
_DELETE = text("DELETE FROM tenants WHERE id = :id")
_FORGET_RULE = text("DELETE FROM dispatch_rules WHERE scope = 'tenant' AND name = :name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Doomed:
    """Which tenant; `name` is its id where its row has gone already, and only what came late may be left."""

    id: UUID
    name: str
    gone: bool = False


def find(tx: Connection, name_or_id: str) -> Doomed:
    """Also one that was deleted, by its id. Raises NotFound, and Forbidden for the system's own tenant."""
    try:
        tenant_id = find_tenant(tx, name_or_id)
    except NotFound:
        if not _was_deleted(tx, name_or_id):
            raise
        return Doomed(id=UUID(name_or_id), name=name_or_id, gone=True)
    if tenant_id == SYSTEM_TENANT:
        raise Forbidden("That is the system's own tenant: nothing runs without it.")
    return Doomed(id=tenant_id, name=tx.execute(_NAME, {"id": tenant_id}).scalar_one())


def begin(tx: Connection, actor: Actor, doomed: Doomed, *, cancel: bool, reason: str) -> None:
    """Let nothing new begin: its jobs are sent no more, its keys are out of force. For admins. Raises Conflict, and has
    done nothing, while the broker or a worker has some of its jobs; with `cancel` they may be given up.
    """
    actor.require(Role.ADMIN)
    if doomed.gone:
        return
    busy = in_flight(tx, doomed.id)
    if busy and not cancel:
        raise Conflict(
            f"{len(busy)} of its jobs are with the broker or a worker. Pause it (millrace tenants pause) and wait for "
            "them, or give them up: --cancel."
        )
    rules.pause(tx, Scope.TENANT, str(doomed.id), reason=WHY_PAUSED)
    keys = tx.execute(_REVOKE, {"id": doomed.id}).rowcount
    facts = {"cancel": cancel, "keys_revoked": keys}
    record(tx, actor, "tenant.delete", _thing(doomed), reason=reason, facts=facts)


def let_go(
    engine: Engine,
    aftermaths: Aftermaths,
    doomed: Doomed,
    *,
    cancel: bool,
    lease_seconds: float,
) -> Iterator[int]:
    """Return when no worker does anything for it any more; yields how many jobs are still out. With `cancel` they are
    cancelled, and who ran one has as long as a lease takes to notice: until then it may still put objects.
    """
    notice = 0.0
    while busy := _in_flight(engine, doomed.id):
        yield len(busy)
        for job_id, running in busy.items():
            if cancel and _cancelled(engine, aftermaths, job_id) and running:
                notice = lease_seconds
        time.sleep(LOOK_SECONDS)
    time.sleep(notice)


def end(
    tx: Connection, actor: Actor, doomed: Doomed, *, reason: str, facts: Mapping[str, Any]
) -> None:
    """Delete its own row, and with it what refers to that. The audit log keeps its id, and what went, in numbers."""
    actor.require(Role.ADMIN)
    if doomed.gone:
        return
    tx.execute(_LOCK, {"id": doomed.id})
    tx.execute(_DELETE, {"id": doomed.id})
    tx.execute(_FORGET_RULE, {"name": str(doomed.id)})
    record(tx, actor, _GONE, _thing(doomed), reason=reason, facts=facts)


def check_meant(doomed: Doomed, said: str | None) -> None:
    """Raises Unprocessable unless somebody has written the tenant's name out."""
    if said == doomed.name:
        return
    wrong = "" if said is None else f"{said!r} is not its name. "
    raise Unprocessable(
        f"{wrong}This deletes {doomed.name!r} ({doomed.id}) and all that is known of it, for good; --dry-run counts it. If "
        f"that is meant, add --yes {doomed.name!r}.",
        code="not_confirmed",
    )


def _was_deleted(tx: Connection, words: str) -> bool:
    with suppress(ValueError):
        known = {"id": str(UUID(words)), "action": _GONE}
        return bool(tx.execute(_KNOWN, known).scalar_one())
    return False


def _in_flight(engine: Engine, tenant_id: UUID) -> dict[UUID, bool]:
    with transaction(engine) as tx:
        return in_flight(tx, tenant_id)


def _cancelled(engine: Engine, aftermaths: Aftermaths, job_id: UUID) -> bool:
    """Whether it is now; not where it has just ended, or where its handler holds its row: the next look tries again."""
    try:
        with transaction(engine) as tx:
            cancel_job(tx, aftermaths, None, job_id, reason=WHY_PAUSED)
    except (Conflict, NotFound, OperationalError):
        return False
    return True


def _thing(doomed: Doomed) -> Thing:
    return Thing(object="tenant", id=str(doomed.id), tenant_id=doomed.id)
