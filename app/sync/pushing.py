"""Send what changed here, in batches. A change is recorded before it is sent and forgotten with its answer:
a process that dies in between leaves it to the next attempt, which sends the very same bytes with the very
same idempotency key.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection, Row, text

from app.ids import new_id
from app.sync import links, pulling, runs
from app.sync.links import Link, link_of
from app.sync.merge import FIELDS, changed
from app.sync.remote import (
    AlreadyThere,
    Refused,
    Remote,
    RemoteContact,
    RemoteError,
    RemoteGone,
    VersionMismatch,
)
from app.sync.runs import Work

log = structlog.get_logger()

BATCH = 20
MAX_WALKS = 3
"""Contacts that changed there while we were sending are looked at again in the same run, so often."""

_PENDING = text("""
    SELECT * FROM sync_links WHERE connection_id = :connection_id AND pending IS NOT NULL
    ORDER BY id LIMIT :batch
""")
# Compared row by row, and not by a time: an import's rows bear the time of their statement, and may be
# committed after a younger row was seen.
_DIRTY = text("""
    SELECT c.id AS local_id, c.email, c.first_name, c.last_name, c.company, c.phone,
           c.updated_at AS changed_at, l.*
    FROM contacts c
    LEFT JOIN sync_links l ON l.connection_id = :connection_id AND l.contact_id = c.id
    WHERE c.tenant_id = :tenant_id AND c.email > :after
      AND (l.id IS NULL
           OR (NOT l.gone AND l.pending IS NULL AND l.seen IS DISTINCT FROM c.updated_at))
    ORDER BY c.email LIMIT :batch
""")
_DELETED = text("""
    SELECT l.* FROM sync_links l
    WHERE l.connection_id = :connection_id AND NOT l.gone AND l.pending IS NULL
      AND NOT EXISTS (SELECT FROM contacts c WHERE c.id = l.contact_id)
    ORDER BY l.id LIMIT :batch
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a push stands: contacts up to the address `after` have been looked at, in walk `walk`."""

    after: str = ""
    walk: int = 1
    again: bool = False
    is_over: bool = False

    @classmethod
    def of(cls, saved: dict[str, Any] | None) -> "Place":
        """As a checkpoint kept it; the beginning without one."""
        return cls(**saved) if saved else cls()


Settle = Callable[[Connection], str]
"""Writes down what a change came to, and returns its count's name."""


def record_changes(tx: Connection, work: Work, place: Place) -> tuple[Place, list[Link]]:
    """The next changes to send, each with its `pending`. The place is over when there is nothing left."""
    facts = {"connection_id": work.connection_id, "batch": BATCH}
    left = [link_of(row) for row in tx.execute(_PENDING, facts)]
    if left:
        return place, left
    facts |= {"tenant_id": work.tenant_id, "after": place.after}
    rows = tx.execute(_DIRTY, facts).all()
    if rows:
        found = [_intend(row) for row in rows]
        links.put(tx, work, found)
        sending = [link for link in found if link.pending is not None]
        return replace(place, after=rows[-1].email), sending
    deleted = [link_of(row) for row in tx.execute(_DELETED, facts)]
    if deleted:
        return place, _bury(tx, work, deleted)
    if place.again and place.walk < MAX_WALKS:
        return Place(walk=place.walk + 1), []
    return replace(place, is_over=True), []


def send(remote: Remote, work: Work, link: Link) -> Settle:
    """Send the link's pending change. Raises RemoteError for what isn't about this contact alone."""
    try:
        return _call(remote, work, link)
    except VersionMismatch:
        return _look_again(remote, work, link)
    except RemoteGone:
        return lambda tx: _gone(tx, work, link)
    except AlreadyThere as other:
        return _adopt(remote, work, link, other.remote_id)
    except Refused as refused:
        why = str(refused)
        return lambda tx: _refused(tx, work, link, why)


def _call(remote: Remote, work: Work, link: Link) -> Settle:
    assert link.pending is not None
    key = f"{link.id}:{link.changes}"
    fields = link.pending["fields"]
    if link.pending["op"] == "delete":
        remote.delete(_id(link), version=str(link.version), key=key)
        return lambda tx: _deleted(tx, link)
    if link.pending["op"] == "create":
        made = remote.create(fields, key=key)
        return lambda tx: _sent(tx, work, link, made, "created_there")
    taken = remote.change(_id(link), fields, version=str(link.version), key=key)
    return lambda tx: _sent(tx, work, link, taken, "updated_there")


def send_all(
    remote: Remote, work: Work, sending: Iterable[Link]
) -> tuple[list[Settle], RemoteError | None]:
    """Send them one by one; what came of them, and what kept the rest from being sent."""
    answers: list[Settle] = []
    try:
        for link in sending:
            answers.append(send(remote, work, link))  # noqa: PERF401 - those before a failure count
    except RemoteError as failure:
        return answers, failure
    return answers, None


def record_answers(tx: Connection, work: Work, place: Place, answers: Sequence[Settle]) -> Place:
    """Write down what the changes came to; whatever met a newer change there is looked at again."""
    counts = Counter(answer(tx) for answer in answers)
    runs.count(tx, work.run_id, counts)
    return replace(place, again=place.again or counts["met"] > 0)


def _intend(row: Row[Any]) -> Link:
    """The link with what is to be sent, or as seen when that is nothing."""
    values = {field: getattr(row, field) for field in FIELDS}
    known = row.id is not None
    link = link_of(row) if known else Link(id=new_id(), contact_id=row.local_id, base={})
    fields = changed(link.base, values) if link.remote_id is not None else values
    if not fields:
        return replace(link, seen=row.changed_at)
    op = "create" if link.remote_id is None else "change"
    pending = {"op": op, "fields": fields, "seen": row.changed_at.isoformat()}
    return replace(link, pending=pending, changes=link.changes + 1)


def _bury(tx: Connection, work: Work, deleted: list[Link]) -> list[Link]:
    """Contacts that were deleted here: their twins go too, or are kept apart from now on."""
    if work.deletes == "keep":
        links.put(tx, work, [replace(link, gone=True) for link in deleted])
        runs.count(tx, work.run_id, {"kept": len(deleted)})
        return []
    for link in deleted:
        if link.remote_id is None:
            links.drop(tx, link)
    pending: dict[str, Any] = {"op": "delete", "fields": {}, "seen": None}
    found = [
        replace(link, pending=pending, changes=link.changes + 1)
        for link in deleted
        if link.remote_id is not None
    ]
    links.put(tx, work, found)
    return found


def _id(link: Link) -> str:
    assert link.remote_id is not None
    return link.remote_id


def _seen(link: Link) -> datetime | None:
    told = link.pending["seen"] if link.pending else None
    return datetime.fromisoformat(told) if told else None


def _sent(tx: Connection, work: Work, link: Link, twin: RemoteContact, name: str) -> str:
    seen = _seen(link)
    assert seen is not None
    links.put(tx, work, [pulling.settled(link, twin, seen)])
    return name


def _deleted(tx: Connection, link: Link) -> str:
    links.drop(tx, link)
    return "deleted_there"


def _gone(tx: Connection, work: Work, link: Link) -> str:
    """Deleted there, before a pull has said so."""
    local = links.find_contact(tx, work, contact_id=link.contact_id)
    pulling.deleted_there(tx, work, link, local)
    return "met"


def _look_again(remote: Remote, work: Work, link: Link) -> Settle:
    """It has changed there too: merge, and send what is left in the next walk."""
    try:
        twin = remote.get(_id(link))
    except RemoteGone:
        return lambda tx: _gone(tx, work, link)
    return lambda tx: _met(tx, work, twin, replace(link, pending=None, version=None))


def _met(tx: Connection, work: Work, twin: RemoteContact, link: Link) -> str:
    links.put(tx, work, [link])
    pulling.take(tx, work, twin, link)
    return "met"


def _adopt(remote: Remote, work: Work, link: Link, remote_id: str | None) -> Settle:
    """Another contact there has the address: where we had none yet, that one is the twin."""
    if remote_id is None or link.remote_id is not None:
        return lambda tx: _refused(tx, work, link, "Another contact there has the address.")
    try:
        twin = remote.get(remote_id)
    except RemoteGone:
        return lambda tx: _refused(tx, work, link, "Another contact there had the address.")
    return lambda tx: _met_new(tx, work, twin, replace(link, pending=None))


def _met_new(tx: Connection, work: Work, twin: RemoteContact, link: Link) -> str:
    links.put(tx, work, [link])
    known = links.by_remote_id(tx, work, [twin.id]).get(twin.id)
    if known is not None or pulling.take(tx, work, twin, None) == "skipped":
        return _refused(tx, work, link, "The contact there is another one's twin.")
    return "met"


def _refused(tx: Connection, work: Work, link: Link, why: str) -> str:
    """Not asked again until the contact changes; a deletion that is refused is left at that."""
    seen = _seen(link)
    log.warning(
        "sync.refused", connection_id=str(work.connection_id), link_id=str(link.id), why=why
    )
    links.put(tx, work, [replace(link, pending=None, seen=seen or link.seen, gone=seen is None)])
    return "refused"
