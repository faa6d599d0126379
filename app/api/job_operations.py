"""What a person does about a job: cancel it, have it run again."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field

from app.api.bodies import Body, BoundedRoute, Reason
from app.api.job_view import JobDetail
from app.api.jobs import ACCEPTED, answer_of, respond
from app.api.problems import describe
from app.api.session import AftermathsDep, CatalogDep, CurrentTenant, Tx
from app.ledger.cancel import cancel
from app.ledger.replay import retry_job

router = APIRouter(prefix="/v1", tags=["jobs"], route_class=BoundedRoute)


class CancelRequest(Body):
    """Why it is cancelled."""

    reason: Annotated[Reason, Field(description="Kept with the job.")] = "Cancelled on request."


@router.post(
    "/jobs/{job_id}/cancel",
    status_code=202,
    response_model=JobDetail,
    responses={**ACCEPTED, **describe(400, 404, 409, 413, 422)},
)
def cancel_job(
    job_id: UUID,
    tenant_id: CurrentTenant,
    tx: Tx,
    aftermaths: AftermathsDep,
    request: CancelRequest | None = None,
) -> Response:
    """Cancel a job that has not ended; for good, and safe to repeat. Work that a running job has not
    committed is undone.
    """
    reason = (request or CancelRequest()).reason
    cancel(tx, aftermaths, tenant_id, job_id, reason=reason)
    return respond(answer_of(tx, tenant_id, job_id))


@router.post(
    "/jobs/{job_id}/retry",
    status_code=202,
    response_model=JobDetail,
    responses={**ACCEPTED, **describe(404, 409, 422)},
)
def retry(
    job_id: UUID,
    tenant_id: CurrentTenant,
    tx: Tx,
    catalog: CatalogDep,
    aftermaths: AftermathsDep,
) -> Response:
    """Run a dead job again, with all its attempts; have one that waits for its time begin now."""
    retry_job(tx, catalog, aftermaths, tenant_id, job_id, reason="Retried on request.")
    return respond(answer_of(tx, tenant_id, job_id))
