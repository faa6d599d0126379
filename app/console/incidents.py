"""Incidents over all tenants: the deaths of one cause, how far they reach, and a look at what a replay would do."""

from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from sqlalchemy import Connection

from app.api.session import AftermathsDep, CatalogDep, Tx
from app.console.visit import ConsoleRoute, Reading, Visit, an_id, read_time
from app.ledger import blast
from app.ledger.aftermath import Aftermaths
from app.ledger.contract import Catalog
from app.ledger.letters import Letter, incident, letters
from app.ledger.replay import DeadFilter
from app.operations import incidents
from app.operations.actor import Actor

router = APIRouter(prefix="/incidents", route_class=ConsoleRoute)

SHOWN = 50
SHOWN_SKIPPED = 20
STEP = 5_000
"""So many jobs are looked at, and replayed, in one step."""
MAX_RATE = 10_000
STATES = ("open", "ignored", "resolved")
Words = Annotated[str, Query(max_length=200)]


@router.get("")
def incidents_page(
    visit: Reading, tx: Tx, state: Words = "open", kind: Words = "", before: Words = ""
) -> Response:
    """Causes, the one seen last first."""
    wanted = state if state in STATES else None
    found = blast.listed(
        tx, state=wanted, kind=kind or None, before=read_time(before), limit=SHOWN + 1
    )
    return visit.page(
        "incidents.html",
        tx,
        state=wanted or "all",
        kind=kind,
        incidents=[visit.veil(asdict(one), "message") for one in found[:SHOWN]],
        more=found[SHOWN - 1].last_seen.isoformat() if len(found) > SHOWN else None,
        few=blast.FEW,
    )


@router.get("/{incident_id}")
def incident_page(incident_id: str, visit: Reading, tx: Tx, before: Words = "") -> Response:
    """One cause: its blast radius and its letters."""
    found = incident(tx, an_id(incident_id, "incident"))
    older = an_id(before, "letter") if before else None
    shown = letters(tx, found.id, before=older, limit=SHOWN + 1)
    return visit.page(
        "incident.html",
        tx,
        incident=visit.veil(asdict(found), "message"),
        totals=blast.totals(tx, found.id),
        tenants=blast.touched_tenants(tx, found.id),
        hours=_bars(blast.deaths_by_hour(tx, found.id)),
        letters=[_letter(visit, one) for one in shown[:SHOWN]],
        more=shown[SHOWN - 1].id if len(shown) > SHOWN else None,
        max_rate=MAX_RATE,
    )


@router.get("/{incident_id}/replay")
def replay_page(
    incident_id: str,
    visit: Reading,
    tx: Tx,
    catalog: CatalogDep,
    aftermaths: AftermathsDep,
    rate: Annotated[float | None, Query(ge=0.001, le=MAX_RATE)] = None,
    tenant: Words = "",
    after: Words = "",
    delay: Annotated[float, Query(ge=0, le=1e9)] = 0.0,
) -> Response:
    """The dry run: what would happen, and the button that makes it so."""
    found = incident(tx, an_id(incident_id, "incident"))
    whose = an_id(tenant, "tenant") if tenant else None
    behind = an_id(after, "job") if after else None
    would = _try_out(
        tx, visit.actor, catalog, aftermaths, found.id, whose, rate=rate, after=behind, delay=delay
    )
    return visit.page(
        "replay.html",
        tx,
        incident=visit.veil(asdict(found), "message"),
        would=would,
        skipped=would["skipped"][:SHOWN_SKIPPED],
        rate=rate,
        tenant=whose,
        after=behind,
        delay=delay,
        most=STEP,
    )


def _try_out(
    tx: Connection,
    actor: Actor,
    catalog: Catalog,
    aftermaths: Aftermaths,
    incident_id: UUID,
    tenant_id: UUID | None,
    **how: Any,
) -> dict[str, Any]:
    chosen = DeadFilter(incident_id=incident_id, tenant_id=tenant_id)
    answer, _ = incidents.replay(
        tx, actor, catalog, aftermaths, chosen, reason="", dry_run=True, limit=STEP, **how
    )
    return {
        "jobs": len(answer.job_ids),
        "by_kind": answer.by_kind,
        "upcast": answer.upcast,
        "skipped": answer.skipped,
        "seconds": answer.seconds,
        "more": answer.more,
    }


def _letter(visit: Visit, letter: Letter) -> dict[str, Any]:
    """Without what a viewer doesn't see: errors' words, and the message as the broker gave it back."""
    facts = visit.veil(asdict(letter), "body", "headers", "x_death", "closed_reason")
    return {**facts, "error": visit.error(letter.error)}


def _bars(hours: list[tuple[Any, int]]) -> dict[str, Any]:
    """The deaths of each hour as bars of up to 40 units of height."""
    most = max((deaths for _, deaths in hours), default=0)
    bars = [
        {
            "at": at,
            "x": 10 * n + 1,
            "deaths": deaths,
            "height": 0 if not deaths else max(1, 40 * deaths // most),
        }
        for n, (at, deaths) in enumerate(hours)
    ]
    return {"bars": bars, "most": most, "total": sum(deaths for _, deaths in hours)}
