"""Products: what imports have brought."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel
from sqlalchemy import select

from app.api.pages import Cursor, Limit, Page, decode_cursor, page_of
from app.api.problems import describe
from app.api.session import CurrentTenant, Tx
from app.models.products import Product

router = APIRouter(prefix="/v1", tags=["products"])


class ProductView(BaseModel):
    """A product; `price` is a decimal number as text, so that no digit is lost on the way."""

    id: UUID
    sku: str
    name: str | None
    price: Decimal | None
    currency: str | None
    stock: int | None
    created_at: datetime
    updated_at: datetime


@router.get("/products", responses=describe(400, 422))
def list_products(
    tenant_id: CurrentTenant,
    tx: Tx,
    sku: Annotated[str | None, Query(description="Only the product of this SKU.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[ProductView]:
    """The tenant's products, by SKU."""
    query = select(Product.__table__).where(Product.tenant_id == tenant_id)
    if sku is not None:
        query = query.where(Product.sku == sku.strip())
    after = decode_cursor(cursor)
    if after is not None:
        query = query.where(Product.sku > after)
    rows = tx.execute(query.order_by(Product.sku).limit(limit + 1)).all()
    items = [ProductView.model_validate(row, from_attributes=True) for row in rows]
    return page_of(items, lambda item: item.sku, limit)
