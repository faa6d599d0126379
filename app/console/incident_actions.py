"""What an operator does about an incident."""

from typing import Annotated

from fastapi import APIRouter, Form, Response

from app.api.session import AftermathsDep, CatalogDep, Tx
from app.console.incidents import MAX_RATE, STEP
from app.console.visit import Acting, ConsoleRoute, Why, an_id, back
from app.ledger.replay import DeadFilter
from app.operations import incidents

router = APIRouter(prefix="/incidents", route_class=ConsoleRoute)

MAX_DAYS = 3650


@router.post("/{incident_id}/replay")
def replay(
    incident_id: str,
    visit: Acting,
    tx: Tx,
    catalog: CatalogDep,
    aftermaths: AftermathsDep,
    reason: Why = "",
    rate: Annotated[float | None, Form(ge=0.001, le=MAX_RATE)] = None,
    tenant: Annotated[str, Form()] = "",
    after: Annotated[str, Form()] = "",
    delay: Annotated[float, Form(ge=0, le=1e9)] = 0.0,
) -> Response:
    """Run its open jobs again. Where there are more than one call takes, the answer leads on to the next
    ones, which begin after these.
    """
    incident = an_id(incident_id, "incident")
    whose = an_id(tenant, "tenant") if tenant else None
    answer, entry = incidents.replay(
        tx,
        visit.actor,
        catalog,
        aftermaths,
        DeadFilter(incident_id=incident, tenant_id=whose),
        reason=reason,
        rate=rate,
        limit=STEP,
        after=an_id(after, "job") if after else None,
        delay=delay,
    )
    here = f"/console/incidents/{incident}"
    if not answer.more:
        return back(here, entry)
    on = delay + len(answer.job_ids) / rate if rate else 0
    return back(
        f"{here}/replay", entry, rate=rate, tenant=whose, after=answer.last, delay=on or None
    )


@router.post("/{incident_id}/discard")
def discard(incident_id: str, visit: Acting, tx: Tx, reason: Why = "") -> Response:
    """Give its open letters up."""
    incident = an_id(incident_id, "incident")
    chosen = DeadFilter(incident_id=incident)
    _, entry = incidents.discard(tx, visit.actor, chosen, reason=reason)
    return back(f"/console/incidents/{incident}", entry)


@router.post("/{incident_id}/resolve")
def resolve(incident_id: str, visit: Acting, tx: Tx, reason: Why = "") -> Response:
    """The cause is mended."""
    incident = an_id(incident_id, "incident")
    entry = incidents.resolve(tx, visit.actor, incident, note=reason)
    return back(f"/console/incidents/{incident}", entry)


@router.post("/{incident_id}/ignore")
def ignore(
    incident_id: str,
    visit: Acting,
    tx: Tx,
    days: Annotated[int, Form(ge=1, le=MAX_DAYS)],
    reason: Why = "",
) -> Response:
    """Hear no more of it for a while."""
    incident = an_id(incident_id, "incident")
    entry = incidents.ignore(tx, visit.actor, incident, note=reason, days=days)
    return back(f"/console/incidents/{incident}", entry)
