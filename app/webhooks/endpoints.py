"""Tenants' endpoints as they are made, changed and shown. Everything joins the caller's transaction.

The signing secret leaves this module once, to whoever creates or rotates it; what is kept of it is sealed.
"""

import base64
import json
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from app.errors import NotFound, Unprocessable
from app.ids import new_id
from app.outbound.breaker import forget_circuit
from app.sealing import seal
from app.settings import Settings

MAX_PER_TENANT = 50
SECRET_PREFIX = "whsec_"  # noqa: S105 - Standard Webhooks' own

_COLUMNS = """
    id, url, description, events, state, disabled_reason, disabled_at, failing_since,
    previous_secret_until, created_at, updated_at
"""
_ROOM = text("SELECT count(*) FROM webhook_endpoints WHERE tenant_id = :tenant_id")
_INSERT = text("""
    INSERT INTO webhook_endpoints (id, tenant_id, url, description, events, secret)
    VALUES (:id, :tenant_id, :url, :description, CAST(:events AS jsonb), :secret)
""")
_ONE = text(f"""
    SELECT {_COLUMNS} FROM webhook_endpoints WHERE id = :id AND tenant_id = :tenant_id
""")  # noqa: S608 - constants
_PAGE = text(f"""
    SELECT {_COLUMNS} FROM webhook_endpoints
    WHERE tenant_id = :tenant_id AND (CAST(:before AS uuid) IS NULL OR id < :before)
    ORDER BY id DESC LIMIT :limit
""")  # noqa: S608
_UPDATE = text("""
    UPDATE webhook_endpoints
    SET url = coalesce(:url, url), events = coalesce(CAST(:events AS jsonb), events),
        description = coalesce(:description, description), state = coalesce(:state, state),
        disabled_reason = CASE coalesce(:state, state) WHEN 'enabled' THEN NULL
                               ELSE coalesce(disabled_reason, 'requested') END,
        disabled_at = CASE coalesce(:state, state) WHEN 'enabled' THEN NULL
                           ELSE coalesce(disabled_at, clock_timestamp()) END,
        failing_since = CASE WHEN :state = 'enabled' THEN NULL ELSE failing_since END,
        updated_at = clock_timestamp()
    WHERE id = :id AND tenant_id = :tenant_id
""")
_ROTATE = text("""
    UPDATE webhook_endpoints
    SET previous_secret = CASE WHEN :keep > 0 THEN secret END, secret = :secret,
        previous_secret_until =
            CASE WHEN :keep > 0 THEN clock_timestamp() + make_interval(secs => :keep) END,
        updated_at = clock_timestamp()
    WHERE id = :id AND tenant_id = :tenant_id
""")
_DELETE = text("DELETE FROM webhook_endpoints WHERE id = :id AND tenant_id = :tenant_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An endpoint as it may be shown: without its secrets."""

    id: UUID
    url: str
    description: str
    events: list[str]
    state: str
    disabled_reason: str | None
    disabled_at: datetime | None
    failing_since: datetime | None
    previous_secret_until: datetime | None
    created_at: datetime
    updated_at: datetime


def circuit_scope(endpoint_id: UUID) -> str:
    """The name of the endpoint's circuit breaker."""
    return f"webhook:{endpoint_id}"


def create(
    tx: Connection,
    tenant_id: UUID,
    settings: Settings,
    *,
    url: str,
    events: list[str],
    description: str,
) -> tuple[UUID, str]:
    """Its id, and its secret, which is shown this once. Raises Unprocessable when there are too many, and
    CannotSeal.
    """
    if tx.execute(_ROOM, {"tenant_id": tenant_id}).scalar_one() >= MAX_PER_TENANT:
        raise Unprocessable(
            f"There are {MAX_PER_TENANT} endpoints already. Delete some of them first.",
            code="too_many_endpoints",
        )
    endpoint_id, secret = new_id(), _new_secret()
    tx.execute(
        _INSERT,
        {
            "id": endpoint_id,
            "tenant_id": tenant_id,
            "url": url,
            "description": description,
            "events": json.dumps(events),
            "secret": seal(secret, settings, owner=endpoint_id),
        },
    )
    return endpoint_id, secret


def load(tx: Connection, tenant_id: UUID, endpoint_id: UUID) -> Endpoint:
    """Raises NotFound."""
    row = tx.execute(_ONE, {"id": endpoint_id, "tenant_id": tenant_id}).one_or_none()
    if row is None:
        raise _missing(endpoint_id)
    return Endpoint(**row._mapping)  # noqa: SLF001


def page(tx: Connection, tenant_id: UUID, *, before: UUID | None, limit: int) -> list[Endpoint]:
    """The newest first."""
    rows = tx.execute(_PAGE, {"tenant_id": tenant_id, "before": before, "limit": limit})
    return [Endpoint(**row._mapping) for row in rows]  # noqa: SLF001


def change(tx: Connection, tenant_id: UUID, endpoint_id: UUID, changes: dict[str, Any]) -> None:
    """What is None or missing stays. Another URL, or enabling it, also forgets its past failures.
    Raises NotFound.
    """
    events = changes.get("events")
    changed = tx.execute(
        _UPDATE,
        {
            "id": endpoint_id,
            "tenant_id": tenant_id,
            "url": changes.get("url"),
            "description": changes.get("description"),
            "state": changes.get("state"),
            "events": None if events is None else json.dumps(events),
        },
    )
    if changed.rowcount == 0:
        raise _missing(endpoint_id)
    if changes.get("url") or changes.get("state") == "enabled":
        forget_circuit(tx, tenant_id, circuit_scope(endpoint_id))


def rotate(
    tx: Connection, tenant_id: UUID, endpoint_id: UUID, settings: Settings, *, keep_seconds: int
) -> str:
    """A new secret, which is shown this once; until `keep_seconds` are over both sign. The one before the
    last is out of force at once. Raises NotFound and CannotSeal.
    """
    secret = _new_secret()
    sealed = seal(secret, settings, owner=endpoint_id)
    facts = {"id": endpoint_id, "tenant_id": tenant_id, "secret": sealed, "keep": keep_seconds}
    if tx.execute(_ROTATE, facts).rowcount == 0:
        raise _missing(endpoint_id)
    return secret


def delete(tx: Connection, tenant_id: UUID, endpoint_id: UUID) -> None:
    """With the log of its deliveries; those that are under way end unsent. Raises NotFound."""
    if tx.execute(_DELETE, {"id": endpoint_id, "tenant_id": tenant_id}).rowcount == 0:
        raise _missing(endpoint_id)
    forget_circuit(tx, tenant_id, circuit_scope(endpoint_id))


def _new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def _missing(endpoint_id: UUID) -> NotFound:
    return NotFound(f"There is no webhook endpoint {endpoint_id}.")
