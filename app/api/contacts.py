"""Contacts: what imports have brought."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel
from sqlalchemy import select

from app.api.pages import Cursor, Limit, Page, decode_cursor, page_of
from app.api.problems import describe
from app.api.session import CurrentTenant, Tx
from app.models.contacts import Contact

router = APIRouter(prefix="/v1", tags=["contacts"])


class ContactView(BaseModel):
    """A contact; `attributes` holds the columns that map to no field."""

    id: UUID
    email: str
    first_name: str | None
    last_name: str | None
    company: str | None
    phone: str | None
    attributes: dict[str, Any]
    created_at: datetime
    updated_at: datetime


@router.get("/contacts", responses=describe(400, 422))
def list_contacts(
    tenant_id: CurrentTenant,
    tx: Tx,
    email: Annotated[str | None, Query(description="Only the contact of this address.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[ContactView]:
    """The tenant's contacts, by e-mail address."""
    query = select(Contact.__table__).where(Contact.tenant_id == tenant_id)
    if email is not None:
        query = query.where(Contact.email == email.strip().lower())
    after = decode_cursor(cursor)
    if after is not None:
        query = query.where(Contact.email > after)
    rows = tx.execute(query.order_by(Contact.email).limit(limit + 1)).all()
    items = [ContactView.model_validate(row, from_attributes=True) for row in rows]
    return page_of(items, lambda item: item.email, limit)
