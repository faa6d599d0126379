"""What becomes of reports about our mails: those that never arrived are marked, and addresses that don't exist
are not written to again.

A report counts for the mail whose Message-ID it encloses and only if it names that mail's recipient. Nobody but
who got the mail knows both: a forged report can stop mails to its forger.
"""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Connection, Row, text

from app.mailing import suppressions
from app.mailing.refusals import GONE
from app.mailing.reports import Report, read_reports
from app.mailing.suppressions import Reason

_FIND = text("""
    SELECT id, tenant_id, recipient, status FROM mails
    WHERE job_id = :job_id AND message_id = :message_id AND lower(recipient) = ANY(:recipients)
      AND status IN ('sent', 'waiting', 'bounced')
    FOR UPDATE
""")
# What has failed stays so: an older word of a delay may come later.
_MARK = text("""
    UPDATE mails
    SET status = CASE WHEN :failed THEN 'bounced' ELSE status END, bounce_status = :status,
        bounce_answer = :answer, bounced_at = clock_timestamp(), updated_at = clock_timestamp()
    WHERE id = :id AND status <> 'bounced'
""")


class Outcome(StrEnum):
    """What a report came to."""

    SUPPRESSED = "suppressed"
    """It failed for good, as the mailbox doesn't exist."""
    BOUNCED = "bounced"
    """It failed for good, for another reason."""
    DELAYED = "delayed"
    """The server still tries."""
    IGNORED = "ignored"
    """It arrived, or went on."""
    UNKNOWN = "unknown"
    """There is no such mail, or not to that recipient."""


@dataclass(frozen=True, slots=True)
class Handled:
    """A report and what it came to."""

    report: Report
    outcome: Outcome


def take_message(tx: Connection, data: bytes) -> list[Handled]:
    """Read a message and act on what it reports; safe to repeat. Empty for one that is no report."""
    return [Handled(report, _take(tx, report)) for report in read_reports(data)]


def _take(tx: Connection, report: Report) -> Outcome:
    mail = _mail_of(tx, report)
    if mail is None:
        return Outcome.UNKNOWN
    if report.action not in {"failed", "delayed"}:
        return Outcome.IGNORED
    failed = report.action == "failed"
    detail = " ".join(part for part in (report.status, report.answer) if part) or report.action
    facts = {"failed": failed, "status": report.status or None, "answer": detail}
    tx.execute(_MARK, {**facts, "id": mail.id})
    if not failed:
        return Outcome.DELAYED
    if report.status not in GONE:
        return Outcome.BOUNCED
    suppressions.suppress(tx, mail.tenant_id, mail.recipient, detail=detail, reason=Reason.BOUNCED)
    return Outcome.SUPPRESSED


def _mail_of(tx: Connection, report: Report) -> Row[tuple[object, ...]] | None:
    try:
        job_id = UUID(report.message_id.strip("<>").partition("@")[0])
    except ValueError:
        return None
    values = {"job_id": job_id, "message_id": report.message_id}
    return tx.execute(_FIND, {**values, "recipients": list(report.recipients)}).one_or_none()
