"""Tables. Every one carries its tenant; ids are UUIDv7; times are `timestamptz`."""

from app.models.base import Base
from app.models.contacts import Contact
from app.models.idempotency import IdempotencyKey
from app.models.imports import Import, ImportChunk, RejectedRow
from app.models.jobs import Job, JobHistory, Outbox
from app.models.tenants import ApiKey, Tenant

__all__ = [
    "ApiKey",
    "Base",
    "Contact",
    "IdempotencyKey",
    "Import",
    "ImportChunk",
    "Job",
    "JobHistory",
    "Outbox",
    "RejectedRow",
    "Tenant",
]
