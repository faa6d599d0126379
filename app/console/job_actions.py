"""What an operator does about a job: cancel it, have it run again."""

from fastapi import APIRouter, Response

from app.api.session import AftermathsDep, CatalogDep, Tx
from app.console.visit import Acting, ConsoleRoute, Why, an_id, back
from app.operations import jobs

router = APIRouter(prefix="/jobs", route_class=ConsoleRoute)


@router.post("/{job_id}/cancel")
def cancel(
    job_id: str, visit: Acting, tx: Tx, aftermaths: AftermathsDep, reason: Why = ""
) -> Response:
    """End a job that has not ended, and the jobs that it began."""
    entry = jobs.cancel(tx, visit.actor, aftermaths, an_id(job_id, "job"), reason=reason)
    return back(f"/console/jobs/{job_id}", entry)


@router.post("/{job_id}/retry")
def retry(
    job_id: str,
    visit: Acting,
    tx: Tx,
    catalog: CatalogDep,
    aftermaths: AftermathsDep,
    reason: Why = "",
) -> Response:
    """Run a dead job again; have one that waits for its time begin now."""
    entry = jobs.retry(tx, visit.actor, catalog, aftermaths, an_id(job_id, "job"), reason=reason)
    return back(f"/console/jobs/{job_id}", entry)
