"""For operators: which tenants are behind the queues. Metrics name no tenant; this does."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from app.api.problems import describe
from app.api.session import CurrentOperator, Tx
from app.ledger.depth import top_tenants
from app.roles import Role

router = APIRouter(prefix="/v1", tags=["tenants"])


class TenantLoadView(BaseModel):
    """What a tenant has waiting, under way and dead, in jobs."""

    tenant_id: UUID
    name: str
    due: Annotated[int, Field(description="Due, and not sent to a worker yet; as last measured.")]
    later: Annotated[int, Field(description="Whose time is still to come; as last measured.")]
    in_flight: Annotated[int, Field(description="With the broker or a worker.")]
    dead: Annotated[int, Field(description="Dead letters that nobody has dealt with.")]
    oldest_seconds: Annotated[float, Field(description="For how long the longest is due.")]


class TopTenants(BaseModel):
    """The busiest first."""

    items: list[TenantLoadView]


@router.get("/tenants/top", responses=describe(403, 422))
def list_top_tenants(
    operator: CurrentOperator, tx: Tx, limit: Annotated[int, Query(ge=1, le=1000)] = 20
) -> TopTenants:
    """Operators: the tenants with the most work due or under way."""
    operator.require(Role.VIEWER)
    found = top_tenants(tx, limit=limit)
    return TopTenants(
        items=[TenantLoadView.model_validate(each, from_attributes=True) for each in found]
    )
