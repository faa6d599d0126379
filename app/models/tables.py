"""All tables together, for who compares or walks the whole schema."""

# ruff: noqa: F401 - a module's tables are there once it is imported

from app.models import (
    ai,
    audit,
    console,
    contacts,
    dispatch,
    exports,
    failures,
    files,
    flows,
    idempotency,
    imports,
    jobs,
    mails,
    outbound,
    payments,
    processes,
    products,
    retention,
    schedules,
    sync,
    tenants,
    uploads,
    webhooks,
)
from app.models.base import Base

TABLES = Base.metadata
