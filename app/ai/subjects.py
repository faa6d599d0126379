"""What can be embedded and classified: contacts and documents, and their text as a model gets it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, TextClause, text

WINDOW = 1000
"""Subjects that are looked at in one statement."""
MAX_WINDOWS = 20
"""And statements in one job, where nothing is found to do."""


class Kind(StrEnum):
    """Of a subject."""

    CONTACTS = "contacts"
    DOCUMENTS = "documents"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """`title` and `text` as they were at `seen_at`; a contact has no title."""

    id: UUID
    title: str
    text: str
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Page:
    """What is to be done, and behind which subject it goes on; None when that was all."""

    subjects: list[Subject]
    after: UUID | None


# By e-mail address, because that is what contacts are sorted by; the address itself stays in its table.
_CONTACTS = """
    SELECT c.id, c.first_name, c.last_name, c.company, c.attributes, c.updated_at AS seen_at, {fresh}
    FROM contacts c {join}
    WHERE c.tenant_id = :tenant_id AND {which}
    ORDER BY c.email LIMIT :limit
"""
_AFTER_CONTACT = """
    c.email > coalesce((SELECT email FROM contacts WHERE id = :after AND tenant_id = :tenant_id), '')
"""
_DOCUMENTS = """
    SELECT c.id, c.title, c.text, c.updated_at AS seen_at, {fresh}
    FROM documents c {join}
    WHERE c.tenant_id = :tenant_id AND {which}
    ORDER BY c.id LIMIT :limit
"""
_AFTER_DOCUMENT = "c.id > coalesce(CAST(:after AS uuid), CAST(:first AS uuid))"
_EMBEDDED = (
    "s.space IS NOT DISTINCT FROM :mark AND s.seen_at IS NOT DISTINCT FROM c.updated_at AS fresh",
    "LEFT JOIN ai_subjects s ON s.tenant_id = c.tenant_id AND s.kind = :kind AND s.id = c.id",
)
_ANY = ("false AS fresh", "")


def _statements(select: str, after: str) -> Mapping[tuple[bool, bool], TextClause]:
    """By whether only what isn't embedded is asked for, and whether by id."""
    return {
        (embed, by_id): text(
            select.format(
                fresh=(_EMBEDDED if embed else _ANY)[0],
                join=(_EMBEDDED if embed else _ANY)[1],
                which="c.id = ANY(:ids)" if by_id else after,
            )
        )
        for embed in (True, False)
        for by_id in (True, False)
    }


_STATEMENTS = {
    Kind.CONTACTS: _statements(_CONTACTS, _AFTER_CONTACT),
    Kind.DOCUMENTS: _statements(_DOCUMENTS, _AFTER_DOCUMENT),
}


def changed(
    tx: Connection,
    tenant_id: UUID,
    kind: Kind,
    space: str,
    *,
    after: UUID | None,
    ids: Sequence[UUID] | None,
    limit: int,
) -> Page:
    """Up to `limit` subjects that aren't embedded as they are now, by that model; of `ids` where given."""
    return _page(tx, tenant_id, kind, space, after=after, ids=ids, limit=limit)


def every(
    tx: Connection,
    tenant_id: UUID,
    kind: Kind,
    *,
    after: UUID | None,
    ids: Sequence[UUID] | None,
    limit: int,
) -> Page:
    """The next `limit` subjects, or those of `ids`."""
    return _page(tx, tenant_id, kind, None, after=after, ids=ids, limit=limit)


def _page(
    tx: Connection,
    tenant_id: UUID,
    kind: Kind,
    space: str | None,
    *,
    after: UUID | None,
    ids: Sequence[UUID] | None,
    limit: int,
) -> Page:
    statement = _STATEMENTS[kind][space is not None, ids is not None]
    window = limit if space is None else WINDOW
    stale: list[Subject] = []
    for _ in range(MAX_WINDOWS):
        values: dict[str, object] = {"tenant_id": tenant_id, "kind": kind.value}
        values |= {"mark": space, "first": UUID(int=0)}
        values |= {"after": after, "ids": list(ids or ()), "limit": window}
        rows = tx.execute(statement, values).all()
        for at, row in enumerate(rows):
            if not row.fresh:
                stale.append(_subject(kind, row))
            after = row.id
            if len(stale) == limit:
                more = at + 1 < len(rows) or len(rows) == window
                return Page(stale, after if more and ids is None else None)
        if ids is not None or len(rows) < window:
            return Page(stale, None)
        if stale:
            break
    return Page(stale, after)


def _subject(kind: Kind, row: Row[Any]) -> Subject:
    if kind is Kind.DOCUMENTS:
        return Subject(id=row.id, title=row.title, text=row.text, seen_at=row.seen_at)
    return Subject(id=row.id, title="", text=_contact_text(row), seen_at=row.seen_at)


def _contact_text(row: Row[Any]) -> str:
    """Who it is and what is known; neither mail address nor phone number: they mean nothing, and needn't
    leave the house.
    """
    name = " ".join(part for part in (row.first_name, row.last_name) if part)
    facts = [f"{key}: {value}" for key, value in row.attributes.items() if value not in (None, "")]
    return "\n".join(part for part in (name, row.company, *facts) if part)
