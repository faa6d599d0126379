"""Take what the remote has: each page's contacts, counts and cursor are one commit.

Everything here may run twice: a contact whose version is known is left alone, whoever changed it.
"""

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import Connection, text

from app.ids import new_id
from app.sync import links, runs
from app.sync.links import Link, Local
from app.sync.merge import FIELDS, merge
from app.sync.remote import Refused, RemoteContact, RemotePage
from app.sync.runs import Work

OVERLAP = timedelta(minutes=2)
"""A sweep asks for changes from this long before the newest that the last one saw: a change that the remote
committed late bears an earlier time than those it was listed after.
"""

# Only times that the remote itself gave: its clock may be behind ours. An empty page says nothing.
_NEWEST = """greatest(seen_until, CASE WHEN CAST(:newest AS timestamptz) IS NOT NULL
                                       THEN least(:newest, clock_timestamp()) END)"""
_GO_ON = text(f"UPDATE connections SET cursor = :cursor, seen_until = {_NEWEST} WHERE id = :id")  # noqa: S608
_SWEPT = text(f"""
    UPDATE connections
    SET cursor = NULL, seen_until = NULL, since = greatest(since, {_NEWEST} - :overlap)
    WHERE id = :id
""")  # noqa: S608
_BEGIN_AGAIN = text("""
    UPDATE connections SET cursor = NULL, since = CASE WHEN cursor IS NULL THEN NULL ELSE since END
    WHERE id = :id
""")
_FORGET = text("UPDATE connections SET cursor = NULL WHERE id = :id")


def take_page(tx: Connection, work: Work, page: RemotePage) -> Work:
    """Apply the page and move the cursor; a `cursor` of None in the answer says that the sweep is over.
    Raises Refused for a cursor that doesn't move.
    """
    if page.next_cursor is not None and page.next_cursor == work.cursor:
        raise Refused("The server's 'next_cursor' is the cursor that it was asked for: no end.")
    newest: dict[str, RemoteContact] = {}
    for item in page.items:
        if item.id not in newest or newest[item.id].updated_at <= item.updated_at:
            newest[item.id] = item
    known = links.by_remote_id(tx, work, list(newest))
    counts = Counter(pages=1)
    for item in newest.values():
        counts.update([take(tx, work, item, known.get(item.id))])
    runs.count(tx, work.run_id, counts)
    latest = max((item.updated_at for item in page.items), default=None)
    _move(tx, work, page.next_cursor, latest)
    return replace(work, cursor=page.next_cursor)


def begin_again(tx: Connection, work: Work) -> Work:
    """The cursor has expired: the sweep begins again, or, if it had just begun, asks for everything.
    Raises Refused when that is refused too.
    """
    if work.cursor is None and work.since is None:
        raise Refused(
            "The server has no list of its contacts: it answered 410 to the plain request."
        )
    tx.execute(_BEGIN_AGAIN, {"id": work.connection_id})
    runs.count(tx, work.run_id, {"restarts": 1})
    return replace(work, cursor=None, since=None if work.cursor is None else work.since)


def forget_cursor(tx: Connection, work: Work) -> None:
    """It may be what the server refuses: the next run begins the sweep again, where it would be refused each time."""
    tx.execute(_FORGET, {"id": work.connection_id})


def take(tx: Connection, work: Work, item: RemoteContact, link: Link | None) -> str:
    """Bring one contact here up to date with its twin; returns what became of it, as a count's name."""
    if link is None:
        return "unchanged" if item.deleted else _meet(tx, work, item)
    if link.version == item.version and not item.deleted:
        return "unchanged"
    local = links.find_contact(tx, work, contact_id=link.contact_id)
    if item.deleted:
        return deleted_there(tx, work, link, local)
    if local is None:
        return _deleted_here(tx, work, item, link)
    return _merge(tx, work, item, replace(link, gone=False), local)


def deleted_there(tx: Connection, work: Work, link: Link, local: Local | None) -> str:
    """An edit beats a deletion: a contact that was changed here since is kept, and made again there."""
    if local is None:
        links.drop(tx, link)
        return "unchanged"
    if link.gone:  # left alone, also where deletions have been mirrored since
        return "unchanged"
    if work.deletes == "keep":
        links.put(tx, work, [replace(link, gone=True, pending=None)])
        return "kept"
    links.drop(tx, link)
    if any(local.values[field] != link.base.get(field) for field in FIELDS):
        return "kept"
    links.delete_contact(tx, work, local.id)
    return "deleted"


def _deleted_here(tx: Connection, work: Work, item: RemoteContact, link: Link) -> str:
    """The twin of a contact that was deleted here has changed: it comes back, unless deletions are kept
    apart.
    """
    if work.deletes == "keep" or link.gone:
        links.put(tx, work, [replace(link, gone=True, pending=None, version=item.version)])
        return "kept"
    links.drop(tx, link)
    return _meet(tx, work, item)


def _meet(tx: Connection, work: Work, item: RemoteContact) -> str:
    """A contact there that has no twin here yet: the one of the same address, or a new one."""
    email = _address(item)
    if email is None:
        return "skipped"
    local = links.find_contact(tx, work, email=email)
    if local is None:
        local = links.insert_contact(tx, work, _values(item, email))
        if local is None:  # somebody was quicker
            return _meet(tx, work, item)
        new = Link(id=new_id(), contact_id=local.id, base={})
        links.put(tx, work, [_settled(new, item, email, local)])
        return "created"
    link = links.by_contact(tx, work, local.id)
    if link is not None and link.remote_id not in {None, item.id}:
        return "skipped"  # two there have one address
    return _merge(tx, work, item, link or Link(id=new_id(), contact_id=local.id, base={}), local)


def _merge(tx: Connection, work: Work, item: RemoteContact, link: Link, local: Local) -> str:
    email = _address(item)
    if email is None:
        return "skipped"
    theirs = _values(item, email)
    merged = merge(
        link.base if link.remote_id is not None else None,
        local.values,
        theirs,
        local_at=local.updated_at,
        remote_at=item.updated_at,
    )
    written: Local | None = local
    if merged.values != local.values:
        written = links.update_contact(tx, local, merged.values)
        if written is None:  # the new address is another contact's
            return "skipped"
    assert written is not None
    links.put(tx, work, [_settled(link, item, email, written)])
    runs.count(tx, work.run_id, {"conflicts": len(merged.conflicts)})
    return "updated" if written is not local else "unchanged"


def _settled(link: Link, item: RemoteContact, email: str, local: Local) -> Link:
    """The link after both sides have been looked at; there is something to send where they differ."""
    theirs = _values(item, email)
    return replace(
        link,
        remote_id=item.id,
        version=item.version,
        base=theirs,
        seen=local.updated_at if local.values == theirs else None,
        pending=None,
        gone=False,
    )


def settled(link: Link, item: RemoteContact, seen: datetime) -> Link:
    """The link after the twin took a change of ours, made from the local row as it was at `seen`."""
    email = _address(item) or str(link.base.get("email"))
    return replace(
        link,
        remote_id=item.id,
        version=item.version,
        base=_values(item, email),
        seen=seen,
        pending=None,
    )


def _address(item: RemoteContact) -> str | None:
    """As it is kept here: lower case; None for what is no address."""
    try:
        found = validate_email(item.email or "", check_deliverability=False)
    except EmailNotValidError:
        return None
    return found.normalized.lower()


def _values(item: RemoteContact, email: str) -> dict[str, str | None]:
    return {**{field: getattr(item, field) for field in FIELDS}, "email": email}


def _move(tx: Connection, work: Work, cursor: str | None, newest: datetime | None) -> None:
    facts = {"id": work.connection_id, "newest": newest}
    if cursor is None:
        tx.execute(_SWEPT, {**facts, "overlap": OVERLAP})
    else:
        tx.execute(_GO_ON, {**facts, "cursor": cursor})
