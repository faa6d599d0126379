"""Connections: which remote accounts a tenant's contacts are kept in step with."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from app.errors import Conflict, HeldByOperator, NotFound, Unprocessable
from app.ids import new_id
from app.outbound.breaker import Breaker, BreakerPolicy, forget_circuit
from app.outbound.errors import OutboundError
from app.outbound.http import OutboundHttp, parse_url
from app.outbound.limiter import Limiter, Rate, forget_rate
from app.sealing import seal, unseal
from app.settings import Settings
from app.sync.remote import TIMEOUT_SECONDS, Remote

MAX_CONNECTIONS = 20
"""Of one tenant."""

_COLUMNS = """id, tenant_id, name, base_url, push, deletes, per_second, state, error, synced_at,
              created_at, updated_at"""
_INSERT = text("""
    INSERT INTO connections (id, tenant_id, name, base_url, token, push, deletes, per_second)
    SELECT :id, :tenant_id, :name, :base_url, :token, :push, :deletes, :per_second
    WHERE (SELECT count(*) FROM connections WHERE tenant_id = :tenant_id) < :most
    RETURNING id
""")
_ERROR = text("""
    SELECT error FROM connections WHERE tenant_id = :tenant_id AND id = :id FOR NO KEY UPDATE
""")
_HELD = text("""
    SELECT name, base_url, error ->> 'message' AS reason FROM connections
    WHERE tenant_id = :tenant_id AND error ->> 'code' = :held
""")
_LOAD = text(f"SELECT {_COLUMNS} FROM connections WHERE tenant_id = :tenant_id AND id = :id")  # noqa: S608
_PAGE = text(f"""
    SELECT {_COLUMNS} FROM connections
    WHERE tenant_id = :tenant_id AND (CAST(:before AS uuid) IS NULL OR id < :before)
    ORDER BY id DESC LIMIT :limit
""")  # noqa: S608
_ANY = text(f"SELECT {_COLUMNS} FROM connections WHERE id = :id")  # noqa: S608
_EVERY = text(f"SELECT {_COLUMNS} FROM connections ORDER BY id DESC LIMIT :limit")  # noqa: S608
_EDIT = text("""
    UPDATE connections
    SET name = coalesce(:name, name), token = coalesce(:token, token),
        push = coalesce(:push, push), deletes = coalesce(:deletes, deletes),
        per_second = coalesce(:per_second, per_second),
        state = CASE WHEN :held THEN state WHEN CAST(:paused AS bool) THEN 'paused'
                     WHEN NOT CAST(:paused AS bool) OR CAST(:token AS bytea) IS NOT NULL THEN 'active'
                     ELSE state END,
        error = CASE WHEN :held THEN error
                     WHEN :paused IS NOT NULL OR CAST(:token AS bytea) IS NOT NULL THEN NULL
                     ELSE error END,
        updated_at = clock_timestamp()
    WHERE tenant_id = :tenant_id AND id = :id
    RETURNING id
""")
_DELETE = text("""
    DELETE FROM connections WHERE tenant_id = :tenant_id AND id = :id RETURNING id
""")
_PAUSE = text("""
    UPDATE connections
    SET state = 'paused', error = CAST(:error AS jsonb), updated_at = clock_timestamp()
    WHERE id = :id AND (:by_operator OR error ->> 'code' IS DISTINCT FROM :held)
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewConnection:
    """What a tenant asks for."""

    name: str
    base_url: str
    token: str
    push: bool
    deletes: str
    per_second: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A connection, without its token."""

    id: UUID
    tenant_id: UUID
    name: str
    base_url: str
    push: bool
    deletes: str
    per_second: int
    state: str
    error: dict[str, Any] | None
    synced_at: datetime | None
    created_at: datetime
    updated_at: datetime


def create(tx: Connection, tenant_id: UUID, new: NewConnection, settings: Settings) -> UUID:
    """Raises Unprocessable for an address that can't be called or one too many, HeldByOperator, CannotSeal."""
    _check_url(new.base_url, settings)
    _check_not_held(tx, tenant_id, new.base_url)
    connection_id = new_id()
    facts = {
        "id": connection_id,
        "tenant_id": tenant_id,
        "name": new.name,
        "base_url": new.base_url,
        "token": seal(new.token, settings, owner=connection_id),
        "push": new.push,
        "deletes": new.deletes,
        "per_second": new.per_second,
        "most": MAX_CONNECTIONS,
    }
    if tx.execute(_INSERT, facts).one_or_none() is None:
        raise Unprocessable(
            f"A tenant has {MAX_CONNECTIONS} connections at most. Delete one first.",
            code="too_many_connections",
        )
    return connection_id


def load(tx: Connection, tenant_id: UUID, connection_id: UUID) -> Account:
    """Raises NotFound."""
    row = tx.execute(_LOAD, {"tenant_id": tenant_id, "id": connection_id}).one_or_none()
    if row is None:
        raise _missing(connection_id)
    return Account(**row._mapping)  # noqa: SLF001


def page(tx: Connection, tenant_id: UUID, *, before: UUID | None, limit: int) -> list[Account]:
    """Newest first."""
    rows = tx.execute(_PAGE, {"tenant_id": tenant_id, "before": before, "limit": limit})
    return [Account(**row._mapping) for row in rows]  # noqa: SLF001


def find(tx: Connection, connection_id: UUID) -> Account:
    """For an operator: whosever it is. Raises NotFound."""
    row = tx.execute(_ANY, {"id": connection_id}).one_or_none()
    if row is None:
        raise _missing(connection_id)
    return Account(**row._mapping)  # noqa: SLF001


def every(tx: Connection, *, limit: int) -> list[Account]:
    """For an operator: of all tenants, newest first."""
    return [Account(**row._mapping) for row in tx.execute(_EVERY, {"limit": limit})]  # noqa: SLF001


def edit(
    tx: Connection,
    tenant_id: UUID,
    connection_id: UUID,
    changes: dict[str, Any],
    settings: Settings,
    *,
    by_operator: bool = False,
) -> None:
    """Change what is in `changes`. A new token ends a pause, but an operator's is ended by operators alone. The
    address never changes: whoever could change it would be sent the token. Raises NotFound, HeldByOperator and
    CannotSeal.
    """
    token = changes.get("token")
    facts: dict[str, Any] = dict.fromkeys(("name", "push", "deletes", "per_second", "paused"))
    sealed = None if token is None else seal(token, settings, owner=connection_id)
    where = {"tenant_id": tenant_id, "id": connection_id}
    error: dict[str, str] = tx.execute(_ERROR, where).scalar_one_or_none() or {}
    held = not by_operator and error.get("code") == HeldByOperator.code
    if held and changes.get("paused") is False:
        _check_free(error)
    facts |= {**changes, **where, "token": sealed, "held": held}
    if tx.execute(_EDIT, facts).one_or_none() is None:
        raise _missing(connection_id)


def delete(tx: Connection, tenant_id: UUID, connection_id: UUID) -> None:
    """With its runs and links; contacts stay, on both sides. Raises NotFound, HeldByOperator."""
    where = {"tenant_id": tenant_id, "id": connection_id}
    _check_free(tx.execute(_ERROR, where).scalar_one_or_none())
    if tx.execute(_DELETE, where).one_or_none() is None:
        raise _missing(connection_id)
    forget_rate(tx, tenant_id, scope_of(connection_id))
    forget_circuit(tx, tenant_id, scope_of(connection_id))


def pause(tx: Connection, connection_id: UUID, *, code: str, message: str) -> None:
    """No run begins until a person has looked at it. An operator's pause stays what it is."""
    facts = {
        "id": connection_id,
        "error": json.dumps({"code": code, "message": message}),
        "by_operator": code == HeldByOperator.code,
        "held": HeldByOperator.code,
    }
    tx.execute(_PAUSE, facts)


def scope_of(connection_id: UUID) -> str:
    """The name of its rate limit and its circuit breaker."""
    return f"connection:{connection_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What it takes to call the remote."""

    tenant_id: UUID
    connection_id: UUID
    base_url: str
    token: bytes
    per_second: int


def open_remote(engine: Engine, access: Access, settings: Settings) -> Remote:
    """Raises CannotOpen when the token can't be read any more."""
    scope = scope_of(access.connection_id)
    rate = Rate(limit=access.per_second, timeout_seconds=TIMEOUT_SECONDS)
    policy = BreakerPolicy(probe_seconds=3 * TIMEOUT_SECONDS)
    return Remote(
        OutboundHttp.of(settings),
        access.base_url,
        unseal(access.token, settings, owner=access.connection_id),
        limiter=Limiter(engine, access.tenant_id, scope, rate),
        breaker=Breaker(engine, access.tenant_id, scope, policy),
    )


def check_active(account: Account) -> None:
    """Raises Conflict."""
    _check_free(account.error)
    if account.state != "active":
        why = account.error["message"] if account.error else "It was paused by hand."
        raise Conflict(
            f"The connection is paused: {why} It goes on after a PATCH with 'paused': false.",
            code="connection_paused",
        )


def _check_free(error: dict[str, Any] | None) -> None:
    """By why the connection is paused."""
    if error and error["code"] == HeldByOperator.code:
        raise HeldByOperator("this connection", error["message"])


def _check_not_held(tx: Connection, tenant_id: UUID, base_url: str) -> None:
    """What an operator has paused isn't begun anew beside it."""
    host = parse_url(base_url).host
    for held in tx.execute(_HELD, {"tenant_id": tenant_id, "held": HeldByOperator.code}):
        if parse_url(held.base_url).host == host:
            raise HeldByOperator(f"the connection {held.name!r} to that server", held.reason)


def _missing(connection_id: UUID) -> NotFound:
    return NotFound(f"There is no connection {connection_id}.")


def _check_url(base_url: str, settings: Settings) -> None:
    try:
        url = parse_url(base_url)
        if url.query or url.fragment:
            raise Unprocessable("The base URL has no query and no fragment.", code="invalid_url")
        if url.scheme != "https" and not settings.outbound_allowed_networks:
            raise Unprocessable("The token may travel by https only.", code="invalid_url")
        OutboundHttp.of(settings).check(base_url)
    except OutboundError as refused:
        raise Unprocessable(str(refused), code=refused.code) from refused
