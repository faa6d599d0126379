"""What the pages read over all tenants where the API reads one tenant's: imports, mails, webhooks. The newest
first, by the primary key; a filter that no index serves looks at so many of the newest, as the search for jobs
does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from app.errors import NotFound

WINDOW = 20_000

_IMPORTS = """
    SELECT i.id, i.tenant_id, i.status, i.filename, i.target, i.policy, i.dry_run, i.created_at,
           i.started_at, i.finished_at, i.total, i.inserted, i.updated, i.rejected, i.error,
           i.undo_status
    FROM imports i
"""
_MAILS = """
    SELECT m.id, m.tenant_id, m.job_id, m.template, m.recipient, m.subject, m.status, m.reply_code,
           m.answer, m.created_at, m.sent_at
    FROM mails m
"""
_DELIVERIES = """
    SELECT d.id, d.tenant_id, d.endpoint_id, d.job_id, d.state, d.reason, d.attempts, d.created_at,
           d.finished_at
    FROM webhook_deliveries d
"""
_ENDPOINTS = """
    SELECT p.id, p.tenant_id, p.url, p.description, p.events, p.state, p.disabled_reason,
           p.failing_since, p.created_at
    FROM webhook_endpoints p
"""


def _page(select: str, alias: str, *filters: str, joined: str = "", more: str = "") -> TextClause:
    """A statement for `read`. Filters are columns of the table that an id narrows or the window bounds."""
    fits = " ".join(
        f"AND (CAST(:{name} AS text) IS NULL OR CAST(seen.{name} AS text) = :{name})"
        for name in filters
    )
    return text(f"""
        SELECT seen.*, t.name AS tenant {more} FROM (
            {select}
            WHERE (CAST(:before AS uuid) IS NULL OR {alias}.id < :before)
              AND (CAST(:tenant_id AS uuid) IS NULL OR {alias}.tenant_id = :tenant_id)
            ORDER BY {alias}.id DESC LIMIT :window
        ) seen
        LEFT JOIN tenants t ON t.id = seen.tenant_id {joined}
        WHERE true {fits}
        ORDER BY seen.id DESC LIMIT :limit
    """)  # noqa: S608 - the words are the program's own


IMPORTS = _page(_IMPORTS, "i", "status")
MAILS = _page(_MAILS, "m", "status", "template")
ENDPOINTS = _page(_ENDPOINTS, "p", "state")
DELIVERIES = _page(
    _DELIVERIES,
    "d",
    "state",
    joined="""
        LEFT JOIN webhook_endpoints p ON p.id = seen.endpoint_id
        LEFT JOIN jobs j ON j.id = seen.job_id
    """,
    more=", p.url, j.state AS job_state",
)
_OWNER = "SELECT t.id, t.name FROM {table} w JOIN tenants t ON t.id = w.tenant_id WHERE w.id = :id"
_OWNERS = {
    "import": text(_OWNER.format(table="imports")),
    "webhook delivery": text(_OWNER.format(table="webhook_deliveries")),
}


@dataclass(frozen=True, slots=True)
class Records:
    """A page of them; `more` is the id of the last, where there are others behind it."""

    rows: list[dict[str, Any]]
    more: UUID | None


def read(
    tx: Connection,
    statement: TextClause,
    filters: Mapping[str, str | None],
    *,
    tenant_id: UUID | None,
    before: UUID | None,
    limit: int,
) -> Records:
    """The newest that fit."""
    facts = {"tenant_id": tenant_id, "before": before, "window": WINDOW, "limit": limit + 1}
    rows = [dict(row._mapping) for row in tx.execute(statement, {**filters, **facts})]  # noqa: SLF001
    return Records(rows[:limit], rows[limit - 1]["id"] if len(rows) > limit else None)


@dataclass(frozen=True, slots=True)
class Owner:
    """The tenant whose something is."""

    id: UUID
    name: str


def owner(tx: Connection, what: str, wanted: UUID) -> Owner:
    """Raises NotFound."""
    found = tx.execute(_OWNERS[what], {"id": wanted}).one_or_none()
    if found is None:
        raise NotFound(f"There is no {what} {wanted}.")
    return Owner(found.id, found.name)
