"""The monthly report as a file in the object store, and in the list of the tenant's exports."""

import re
from collections.abc import Sequence
from hashlib import sha256
from uuid import UUID

from sqlalchemy import Connection

from app.exports.files import object_key
from app.exports.lifecycle import Report, add_report
from app.exports.object_writer import Stored
from app.exports.order import ReportFormat, content_type_of
from app.ids import new_id
from app.ledger.contract import JobContract
from app.reports.monthly import MonthlyFacts
from app.storage import Storage

TARGET = "monthly_report"


def store_report(
    storage: Storage,
    facts: MonthlyFacts,
    document: bytes,
    tenant_id: UUID,
    job_id: UUID,
    attempt: int,
) -> tuple[Report, Stored]:
    """Put the document; it is a report's once `record_report` has committed."""
    report = Report(
        id=new_id(),
        tenant_id=tenant_id,
        job_id=job_id,
        target=TARGET,
        format=ReportFormat.PDF,
        wanted={"month": facts.month.name},
        filename=_filename(facts),
        rows=facts.imports.total,
    )
    key = object_key(tenant_id, report.id, job_id, attempt, ReportFormat.PDF)
    storage.put(key, document, content_type=content_type_of(ReportFormat.PDF))
    return report, Stored(key, len(document), sha256(document).hexdigest())


def record_report(
    tx: Connection, made: tuple[Report, Stored], *, keep_days: int
) -> Sequence[JobContract]:
    """List it. Returns what is to be enqueued."""
    report, stored = made
    return add_report(tx, report, stored, keep_days=keep_days)


def _filename(facts: MonthlyFacts) -> str:
    """Of the tenant's name, what every system and header can hold."""
    name = re.sub(r"[^a-z0-9]+", "-", facts.tenant.lower()).strip("-")[:60]
    return "-".join(filter(None, ("activity", name, facts.month.name))) + ".pdf"
