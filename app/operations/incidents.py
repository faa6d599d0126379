"""Dead letters over all tenants: replay, discard, and what is said about their causes."""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from app.ledger import incidents, letters
from app.ledger.aftermath import Aftermaths
from app.ledger.contract import Catalog
from app.ledger.replay import MAX_JOBS, DeadFilter, Discarded, Replayed
from app.ledger.replay import discard as close
from app.ledger.replay import replay as run_again
from app.operations.actor import Actor
from app.operations.audit import Thing, checked_reason, record
from app.roles import Role


def replay(
    tx: Connection,
    actor: Actor,
    catalog: Catalog,
    aftermaths: Aftermaths,
    chosen: DeadFilter,
    *,
    reason: str,
    rate: float | None = None,
    dry_run: bool = False,
    limit: int = MAX_JOBS,
    after: UUID | None = None,
    delay: float = 0.0,
) -> tuple[Replayed, UUID | None]:
    """As `app.ledger.replay.replay`, and the entry in the audit log; None for a dry run, which changes
    nothing. Raises Forbidden, NotFound for an incident that isn't, and Unprocessable without a reason.
    """
    actor.require(Role.OPERATOR)
    _check_there(tx, chosen)
    answer = run_again(
        tx,
        catalog,
        aftermaths,
        chosen,
        reason=reason if dry_run else checked_reason(reason),
        rate=rate,
        dry_run=dry_run,
        limit=limit,
        after=after,
        delay=delay,
    )
    if dry_run:
        return answer, None
    facts = {
        "replayed": len(answer.job_ids),
        "skipped": len(answer.skipped),
        "rate": rate,
        "seconds": answer.seconds,
        "more": answer.more,
        **_chosen_words(chosen),
    }
    entry = record(tx, actor, "dead_letters.replay", _thing(chosen), reason=reason, facts=facts)
    return answer, entry


def discard(
    tx: Connection, actor: Actor, chosen: DeadFilter, *, reason: str, dry_run: bool = False
) -> tuple[Discarded, UUID | None]:
    """As `app.ledger.replay.discard`, for admins: the work is given up. The reason is in the jobs' history,
    where their tenants read it. Otherwise as above.
    """
    actor.require(Role.ADMIN)
    _check_there(tx, chosen)
    said = reason if dry_run else checked_reason(reason)
    answer = close(tx, chosen, reason=said, dry_run=dry_run)
    if dry_run:
        return answer, None
    facts = {"discarded": answer.number, "more": answer.more, **_chosen_words(chosen)}
    entry = record(tx, actor, "dead_letters.discard", _thing(chosen), reason=reason, facts=facts)
    return answer, entry


def _check_there(tx: Connection, chosen: DeadFilter) -> None:
    """Raises NotFound for an incident that isn't: nothing done to it would look like done."""
    if chosen.incident_id is not None:
        letters.incident(tx, chosen.incident_id)


def resolve(tx: Connection, actor: Actor, incident_id: UUID, *, note: str) -> UUID:
    """The cause is mended. Raises Forbidden, NotFound, Unprocessable."""
    actor.require(Role.OPERATOR)
    incidents.resolve(tx, incident_id, note=checked_reason(note))
    return record(tx, actor, "incident.resolve", _incident(incident_id), reason=note)


def ignore(tx: Connection, actor: Actor, incident_id: UUID, *, note: str, days: int) -> UUID:
    """Nobody wants to hear of it for so many days. As above."""
    actor.require(Role.OPERATOR)
    incidents.ignore(tx, incident_id, note=checked_reason(note), days=days)
    facts = {"days": days}
    return record(tx, actor, "incident.ignore", _incident(incident_id), reason=note, facts=facts)


def _incident(incident_id: UUID) -> Thing:
    return Thing(object="incident", id=str(incident_id))


def _thing(chosen: DeadFilter) -> Thing:
    if chosen.incident_id is not None:
        return Thing(object="incident", id=str(chosen.incident_id), tenant_id=chosen.tenant_id)
    if chosen.job_ids is not None and len(chosen.job_ids) == 1:
        return Thing(object="job", id=str(chosen.job_ids[0]), tenant_id=chosen.tenant_id)
    return Thing(object="dead_letters", id="filter", tenant_id=chosen.tenant_id)


def _chosen_words(chosen: DeadFilter) -> dict[str, Any]:
    """What was asked for, but for long lists of ids."""
    parts = {name: value for name, value in chosen.parameters().items() if value is not None}
    ids = parts.pop("job_ids", None)
    words: dict[str, Any] = {"filter": {name: str(value) for name, value in parts.items()}}
    return words if ids is None else {**words, "jobs": len(chosen.job_ids or ())}
