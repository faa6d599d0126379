"""What a job reads and writes about links and contacts, in the connection's own words."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import IntegrityError

from app.ids import new_id
from app.sync.merge import FIELDS
from app.sync.runs import Work

_LINK = "id, contact_id, remote_id, version, base, seen, pending, changes, gone"
_BY_REMOTE = text(f"""
    SELECT {_LINK} FROM sync_links
    WHERE connection_id = :connection_id AND remote_id = ANY(:remote_ids)
""")  # noqa: S608
_BY_CONTACT = text(f"""
    SELECT {_LINK} FROM sync_links WHERE connection_id = :connection_id AND contact_id = :contact_id
""")  # noqa: S608
_CONTACT = text("""
    SELECT id, email, first_name, last_name, company, phone, updated_at FROM contacts
    WHERE tenant_id = :tenant_id AND (id = :id OR email = :email)
    ORDER BY id = :id DESC LIMIT 1 FOR UPDATE
""")
_INSERT_CONTACT = text("""
    INSERT INTO contacts (id, tenant_id, email, first_name, last_name, company, phone,
                          created_at, updated_at)
    VALUES (:id, :tenant_id, :email, :first_name, :last_name, :company, :phone,
            clock_timestamp(), clock_timestamp())
    ON CONFLICT (tenant_id, email) DO NOTHING
    RETURNING id, email, first_name, last_name, company, phone, updated_at
""")
_UPDATE_CONTACT = text("""
    UPDATE contacts
    SET email = :email, first_name = :first_name, last_name = :last_name, company = :company,
        phone = :phone, updated_at = clock_timestamp()
    WHERE id = :id
    RETURNING id, email, first_name, last_name, company, phone, updated_at
""")
_DELETE_CONTACT = text("DELETE FROM contacts WHERE tenant_id = :tenant_id AND id = :id")
_PUT = text("""
    INSERT INTO sync_links AS l (id, tenant_id, connection_id, contact_id, remote_id, version, base,
                                 seen, pending, changes, gone)
    VALUES (:id, :tenant_id, :connection_id, :contact_id, :remote_id, :version,
            CAST(:base AS jsonb), :seen, CAST(:pending AS jsonb), :changes, :gone)
    ON CONFLICT (id) DO UPDATE
    SET contact_id = excluded.contact_id, remote_id = excluded.remote_id,
        version = excluded.version, base = excluded.base, seen = excluded.seen,
        pending = excluded.pending, changes = excluded.changes, gone = excluded.gone,
        updated_at = clock_timestamp()
""")
_DROP = text("DELETE FROM sync_links WHERE id = :id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A contact here and its twin there: see app.models.sync.SyncLink."""

    id: UUID
    contact_id: UUID
    remote_id: str | None = None
    version: str | None = None
    base: Mapping[str, str | None]
    seen: datetime | None = None
    pending: Mapping[str, Any] | None = None
    changes: int = 0
    gone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """A contact here, locked."""

    id: UUID
    values: dict[str, str | None]
    updated_at: datetime


def link_of(row: Row[Any]) -> Link:
    """As a query gave it."""
    return Link(**{name: getattr(row, name) for name in Link.__dataclass_fields__})


def by_remote_id(tx: Connection, work: Work, remote_ids: Sequence[str]) -> dict[str, Link]:
    """The links of those twins."""
    facts = {"connection_id": work.connection_id, "remote_ids": list(remote_ids)}
    return {row.remote_id: link_of(row) for row in tx.execute(_BY_REMOTE, facts)}


def by_contact(tx: Connection, work: Work, contact_id: UUID) -> Link | None:
    """The link of that contact."""
    facts = {"connection_id": work.connection_id, "contact_id": contact_id}
    row = tx.execute(_BY_CONTACT, facts).one_or_none()
    return None if row is None else link_of(row)


def find_contact(
    tx: Connection, work: Work, *, contact_id: UUID | None = None, email: str | None = None
) -> Local | None:
    """The contact of that id, or else of that address, locked until the commit."""
    facts = {"tenant_id": work.tenant_id, "id": contact_id, "email": email}
    row = tx.execute(_CONTACT, facts).one_or_none()
    return None if row is None else _local(row)


def insert_contact(tx: Connection, work: Work, values: Mapping[str, str | None]) -> Local | None:
    """A new contact; None when there is one of that address."""
    facts = {**_fields(values), "id": new_id(), "tenant_id": work.tenant_id}
    row = tx.execute(_INSERT_CONTACT, facts).one_or_none()
    return None if row is None else _local(row)


def update_contact(tx: Connection, local: Local, values: Mapping[str, str | None]) -> Local | None:
    """The contact with those values; None when another one has the address."""
    try:
        with tx.begin_nested():
            row = tx.execute(_UPDATE_CONTACT, {**_fields(values), "id": local.id}).one()
    except IntegrityError:
        return None
    return _local(row)


def delete_contact(tx: Connection, work: Work, contact_id: UUID) -> None:
    """Delete it here."""
    tx.execute(_DELETE_CONTACT, {"tenant_id": work.tenant_id, "id": contact_id})


def put(tx: Connection, work: Work, links: Iterable[Link]) -> None:
    """Write them, new or known."""
    rows = [
        {
            **{name: getattr(link, name) for name in Link.__dataclass_fields__},
            "tenant_id": work.tenant_id,
            "connection_id": work.connection_id,
            "base": json.dumps(dict(link.base)),
            "pending": None if link.pending is None else json.dumps(dict(link.pending)),
        }
        for link in links
    ]
    if rows:
        tx.execute(_PUT, rows)


def drop(tx: Connection, link: Link) -> None:
    """The two have nothing to do with each other any more."""
    tx.execute(_DROP, {"id": link.id})


def _fields(values: Mapping[str, str | None]) -> dict[str, str | None]:
    return {field: values.get(field) for field in FIELDS}


def _local(row: Row[Any]) -> Local:
    values = {field: getattr(row, field) for field in FIELDS}
    return Local(id=row.id, values=values, updated_at=row.updated_at)
