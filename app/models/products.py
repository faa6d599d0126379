"""Products: what imports write, besides contacts."""

from decimal import Decimal
from uuid import UUID

from sqlalchemy import Index, Numeric
from sqlalchemy.orm import Mapped, mapped_column

from app.ids import new_id
from app.models.base import Base, CreatedAt, TenantRef


class Product(Base):
    """An article. Unique per tenant by SKU, in which upper and lower case differ."""

    __tablename__ = "products"
    __table_args__ = (Index("uq_products_tenant_id_sku", "tenant_id", "sku", unique=True),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[TenantRef]
    sku: Mapped[str]
    name: Mapped[str | None]
    price: Mapped[Decimal | None] = mapped_column(Numeric(14, 4))
    currency: Mapped[str | None]
    stock: Mapped[int | None]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[CreatedAt]
