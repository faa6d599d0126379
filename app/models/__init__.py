"""Tables. Every one carries its tenant; ids are UUIDv7; times are `timestamptz`."""

from app.models.ai import (
    AiLabel,
    AiPassage,
    AiResult,
    AiSpending,
    AiSubject,
    AiUsage,
    Document,
)
from app.models.audit import AuditEntry, SignInFailure
from app.models.base import Base
from app.models.console import ConsoleSession
from app.models.contacts import Contact
from app.models.dispatch import Backlog, DispatchRule
from app.models.exports import Export, ExportPart
from app.models.failures import DeadLetter, Incident, TaskError
from app.models.files import File, FileVariant
from app.models.flows import Batch, BatchShard, Cancellation, JobWait, Waiting
from app.models.idempotency import IdempotencyKey
from app.models.imports import Import, ImportChunk, ImportMapping
from app.models.jobs import (
    Deadline,
    Effect,
    InFlight,
    Job,
    JobHistory,
    KeyLine,
    KeyWake,
    Lock,
    Outbox,
)
from app.models.mails import Mail, MailSuppression
from app.models.outbound import CircuitBreaker, CircuitChange, RateLimit
from app.models.payments import PaymentCustomer, PaymentEvent, Subscription
from app.models.processes import ProcessSeen
from app.models.products import Product
from app.models.retention import Retention
from app.models.schedules import Schedule, ScheduleSlot
from app.models.sync import RemoteConnection, SyncLink, SyncRun
from app.models.tenants import SYSTEM_TENANT, ApiKey, Tenant
from app.models.uploads import Upload
from app.models.webhooks import (
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)

__all__ = [
    "SYSTEM_TENANT",
    "AiLabel",
    "AiPassage",
    "AiResult",
    "AiSpending",
    "AiSubject",
    "AiUsage",
    "ApiKey",
    "AuditEntry",
    "Backlog",
    "Base",
    "Batch",
    "BatchShard",
    "Cancellation",
    "CircuitBreaker",
    "CircuitChange",
    "ConsoleSession",
    "Contact",
    "DeadLetter",
    "Deadline",
    "DispatchRule",
    "Document",
    "Effect",
    "Export",
    "ExportPart",
    "File",
    "FileVariant",
    "IdempotencyKey",
    "Import",
    "ImportChunk",
    "ImportMapping",
    "InFlight",
    "Incident",
    "Job",
    "JobHistory",
    "JobWait",
    "KeyLine",
    "KeyWake",
    "Lock",
    "Mail",
    "MailSuppression",
    "Outbox",
    "PaymentCustomer",
    "PaymentEvent",
    "ProcessSeen",
    "Product",
    "RateLimit",
    "RemoteConnection",
    "Retention",
    "Schedule",
    "ScheduleSlot",
    "SignInFailure",
    "Subscription",
    "SyncLink",
    "SyncRun",
    "TaskError",
    "Tenant",
    "Upload",
    "Waiting",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
]
