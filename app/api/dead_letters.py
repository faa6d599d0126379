"""Dead letters: what of the tenant's failed for good, by its cause, and what to do about it."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from app.api.bodies import BoundedRoute
from app.api.dead_letter_view import (
    DiscardAnswer,
    DiscardRequest,
    IncidentState,
    IncidentView,
    LetterState,
    LetterView,
    ReplayAnswer,
    ReplayRequest,
    SkippedJob,
    letter_view,
)
from app.api.pages import Cursor, Limit, Page, decode_id_cursor, page_of
from app.api.problems import describe
from app.api.session import AftermathsDep, CatalogDep, CurrentTenant, Tx
from app.ledger.letters import check_touched, letters, tenants_incidents
from app.ledger.replay import discard, replay

router = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"], route_class=BoundedRoute)


@router.get("", responses=describe(400, 422))
def list_incidents(
    tenant_id: CurrentTenant,
    tx: Tx,
    state: Annotated[IncidentState | None, Query()] = None,
    kind: Annotated[str | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[IncidentView]:
    """The tenant's open dead letters grouped by cause, the newest cause first."""
    found = tenants_incidents(
        tx,
        tenant_id,
        state=state,
        kind=kind,
        before=decode_id_cursor(cursor),
        limit=limit + 1,
    )
    views = [IncidentView.model_validate(each, from_attributes=True) for each in found]
    return page_of(views, lambda incident: incident.id, limit)


@router.get("/{incident_id}", responses=describe(400, 404, 422))
def list_letters(
    incident_id: UUID,
    tenant_id: CurrentTenant,
    tx: Tx,
    state: Annotated[LetterState | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[LetterView]:
    """The tenant's dead letters of one cause, newest first: open ones and those dealt with."""
    check_touched(tx, tenant_id, incident_id)
    found = letters(
        tx,
        incident_id,
        tenant_id=tenant_id,
        state=state,
        before=decode_id_cursor(cursor),
        limit=limit + 1,
    )
    return page_of([letter_view(each) for each in found], lambda letter: letter.id, limit)


@router.post("/replay", responses=describe(400, 413, 422))
def replay_dead(
    request: ReplayRequest,
    tenant_id: CurrentTenant,
    tx: Tx,
    catalog: CatalogDep,
    aftermaths: AftermathsDep,
) -> ReplayAnswer:
    """Run dead jobs again, each with all its attempts and no deadline, or see what would be."""
    answer = replay(
        tx,
        catalog,
        aftermaths,
        request.filter.of(tenant_id),
        reason="Replayed on request.",
        rate=request.rate,
        dry_run=request.dry_run,
    )
    return ReplayAnswer(
        dry_run=request.dry_run,
        replayed=len(answer.job_ids),
        by_kind=answer.by_kind,
        upcast=answer.upcast,
        skipped=[SkippedJob(job_id=each.job_id, reason=each.reason) for each in answer.skipped],
        seconds=answer.seconds,
        more=answer.more,
    )


@router.post("/discard", responses=describe(400, 413, 422))
def discard_dead(request: DiscardRequest, tenant_id: CurrentTenant, tx: Tx) -> DiscardAnswer:
    """Give dead jobs up for good; they stay dead, and the reason stays in their history."""
    answer = discard(
        tx, request.filter.of(tenant_id), reason=request.reason, dry_run=request.dry_run
    )
    return DiscardAnswer(dry_run=request.dry_run, discarded=answer.number, more=answer.more)
