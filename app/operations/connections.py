"""Connections to other systems, of any tenant: pause, resume, run."""

from uuid import UUID

from sqlalchemy import Connection

from app.errors import HeldByOperator
from app.operations.actor import Actor
from app.operations.audit import Thing, checked_reason, record
from app.roles import Role
from app.settings import Settings
from app.sync import connections, runs
from app.sync.connections import Account
from app.sync.runs import Run


def pause(tx: Connection, actor: Actor, connection_id: UUID, *, reason: str) -> None:
    """Begin no more runs of it; its tenant sees the reason. Raises Forbidden, NotFound, Unprocessable."""
    account = _account(tx, actor, connection_id)
    said = checked_reason(reason)
    connections.pause(tx, account.id, code=HeldByOperator.code, message=said)
    _record(tx, actor, "pause", account, reason=reason)


def resume(
    tx: Connection, actor: Actor, settings: Settings, connection_id: UUID, *, reason: str
) -> None:
    """Let it run again. As above."""
    account = _account(tx, actor, connection_id)
    changes = {"paused": False}
    connections.edit(tx, account.tenant_id, account.id, changes, settings, by_operator=True)
    _record(tx, actor, "resume", account, reason=reason)


def run(tx: Connection, actor: Actor, connection_id: UUID, *, reason: str) -> Run:
    """Begin a run, or return the one that hasn't ended. As above."""
    account = _account(tx, actor, connection_id)
    made = runs.start(tx, account.tenant_id, account.id)
    _record(tx, actor, "run", account, reason=reason, run_id=str(made.id))
    return made


def _account(tx: Connection, actor: Actor, connection_id: UUID) -> Account:
    actor.require(Role.OPERATOR)
    return connections.find(tx, connection_id)


def _record(
    tx: Connection, actor: Actor, action: str, account: Account, *, reason: str, **facts: str
) -> None:
    thing = Thing(object="connection", id=str(account.id), tenant_id=account.tenant_id)
    record(tx, actor, f"connection.{action}", thing, reason=reason, facts=facts or None)
