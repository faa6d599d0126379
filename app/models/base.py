"""The declarative base, the naming of constraints, and the columns that most tables share."""

from datetime import datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, MetaData, Text, Uuid, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

Json = dict[str, Any]
Timestamp = Annotated[datetime, mapped_column(DateTime(timezone=True))]
CreatedAt = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]
TenantId = Annotated[UUID, mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))]
TenantRef = UUID
"""The tenant in tables that are written a row per job or a row per line: there the foreign key's check
would cost as much as the insert, and the tenant comes from a checked API key or from its own job."""


class Base(DeclarativeBase):
    """Text is `text`, dictionaries are `jsonb`."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text(),
        UUID: Uuid(),
        Json: JSONB(),
        list[str]: JSONB(),
        datetime: DateTime(timezone=True),
    }
