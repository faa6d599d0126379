"""Lists over all tenants that have the same form: imports, mails, webhooks' endpoints and deliveries."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Connection, TextClause

from app.console.records import read
from app.console.visit import Visit, an_id
from app.errors import NotFound
from app.keys import find_tenant

SHOWN = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """How one list is read: `filters` are its columns that may be asked for, `hidden` those that viewers
    don't see.
    """

    path: str
    statement: TextClause
    filters: tuple[str, ...]
    hidden: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the template gets."""

    rows: Sequence[dict[str, Any]]
    asked: dict[str, str]
    problem: str
    more: str | None


def shown(
    visit: Visit, tx: Connection, listing: Listing, *, tenant: str, before: str, **filters: str
) -> Shown:
    """A page of the list. A tenant that isn't there is a problem, and not an error."""
    asked = {"tenant": tenant.strip(), **{name: filters[name] for name in listing.filters}}
    try:
        found = read(
            tx,
            listing.statement,
            {name: asked[name] or None for name in listing.filters},
            tenant_id=find_tenant(tx, asked["tenant"]) if asked["tenant"] else None,
            before=an_id(before, "entry") if before else None,
            limit=SHOWN,
        )
    except NotFound as missing:
        return Shown(rows=[], asked=asked, problem=str(missing), more=None)
    more = None
    if found.more is not None:
        words = {name: value for name, value in asked.items() if value}
        more = f"{listing.path}?{urlencode({**words, 'before': found.more})}"
    rows = [visit.veil(row, *listing.hidden) for row in found.rows]
    return Shown(rows=rows, asked=asked, problem="", more=more)
