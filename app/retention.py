"""Everything that is forgotten some time after its end: one line each, in this order.

Jobs hold on to batches, dead letters to jobs, incidents to dead letters, what it takes to undo an
import goes before it, and who uses a model's answer before the answer.
"""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import Connection

from app.errors import Unprocessable
from app.imports.pruning import prune_imports, prune_undo_data
from app.ledger.prune import prune_batches, prune_dead_letters, prune_incidents, prune_jobs
from app.settings import Settings
from app.upkeep.kept import Kept, terms
from app.upkeep.rows import rows

MAX_DAYS = 36_500

# A schedule's newest slot stays: it says when the schedule last ran.
_NOT_THE_NEWEST = """NOT EXISTS (SELECT FROM schedules s
                                 WHERE s.id = t.schedule_id AND s.last_slot_at = t.slot_at)"""

# A trigger refuses the rest.
_AUDITED = "t.at < clock_timestamp() - interval '30 days'"
# Whose job died, and was given up, nobody will apply any more.
_DEALT_WITH = "t.state <> 'received' OR t.received_at < clock_timestamp() - interval '365 days'"
_EXPIRED = "t.expires_at IS NULL OR t.expires_at < clock_timestamp()"
_DELIVERED = "NOT EXISTS (SELECT FROM webhook_deliveries d WHERE d.event_id = t.id)"

_NOBODY_S = """NOT EXISTS (SELECT FROM jobs j
                           WHERE j.id = t.job_id AND j.attempt = t.attempt AND j.state = 'running')"""

_NO_SUBJECT = """NOT EXISTS (SELECT FROM contacts c WHERE c.id = t.{id} AND t.kind = 'contacts')
    AND NOT EXISTS (SELECT FROM documents d WHERE d.id = t.{id} AND t.kind = 'documents')"""
_OF_NO_USE = """
    NOT EXISTS (SELECT FROM ai_passages p WHERE p.tenant_id = t.tenant_id AND p.hash = t.hash)
    AND NOT EXISTS (SELECT FROM ai_labels l WHERE l.tenant_id = t.tenant_id AND l.hash = t.hash)"""

KEPT = (
    Kept(what="jobs", about="ended jobs, their history and effects", step=prune_jobs),
    Kept(
        what="batches",
        about="ended batches, once all their jobs are gone",
        step=prune_batches,
        per_tenant=False,
    ),
    Kept(what="dead_letters", about="closed dead letters of no job", step=prune_dead_letters),
    Kept(
        what="incidents",
        about="incidents without dead letters",
        step=prune_incidents,
        per_tenant=False,
    ),
    Kept(
        what="idempotency_keys",
        about="remembered answers",
        step=rows("idempotency_keys", at="created_at"),
    ),
    Kept(
        what="schedule_slots",
        about="fired slots of schedules",
        step=rows("schedule_slots", at="slot_at", where=_NOT_THE_NEWEST, tenant=None),
        per_tenant=False,
    ),
    Kept(
        what="uploads",
        about="direct uploads that were completed or refused",
        step=rows("uploads", at="created_at", where="t.status <> 'open'"),
    ),
    Kept(what="mails", about="mails, sent or not", step=rows("mails", at="created_at")),
    Kept(
        what="payment_events",
        about="the payment provider's events; those that are still to be applied for a year at least",
        step=rows("payment_events", at="received_at", where=_DEALT_WITH),
    ),
    Kept(
        what="webhook_deliveries",
        about="ended deliveries of webhooks, and their attempts",
        step=rows("webhook_deliveries", at="finished_at", where="t.state <> 'pending'"),
    ),
    Kept(
        what="webhook_events",
        about="events of webhooks without deliveries",
        step=rows("webhook_events", at="created_at", where=_DELIVERED),
    ),
    Kept(
        what="exports",
        about="ended exports that have expired; their objects go when they expire",
        step=rows("exports", at="finished_at", where=_EXPIRED),
    ),
    Kept(
        what="sync_runs",
        about="ended runs of connections",
        step=rows("sync_runs", at="finished_at"),
    ),
    Kept(
        what="circuit_changes",
        about="when other people's servers were left alone, and asked again",
        step=rows("circuit_changes", at="at"),
    ),
    Kept(
        what="console_sessions",
        about="sessions of the console, after their end",
        step=rows("console_sessions", at="expires_at"),
        days=1,
    ),
    Kept(
        what="audit_log",
        about="what operators did; for 30 days in any case",
        step=rows("audit_log", at="at", where=_AUDITED, tenant=None),
        days=365,
        per_tenant=False,
    ),
    Kept(
        what="processes",
        about="dispatchers and workers that were not heard of any more",
        step=rows("processes", at="seen_at", tenant=None),
        days=1,
        per_tenant=False,
    ),
    Kept(
        what="locks",
        about="names of locks that nobody holds",
        step=rows("locks", at="acquired_at", where=_NOBODY_S),
        days=1,
        per_tenant=False,
    ),
    Kept(
        what="task_errors",
        about="why a plain task failed, where no dead letter came for it",
        step=rows("task_errors", at="created_at", tenant=None),
        days=7,
        per_tenant=False,
    ),
    Kept(what="import_undo_data", about="what undoing an import takes", step=prune_undo_data),
    Kept(
        what="imports",
        about="ended imports, their files and rejected rows",
        step=prune_imports,
        days=365,
    ),
    Kept(
        what="ai_subjects",
        about="what was found by meaning and is gone, with its passages",
        step=rows("ai_subjects", at="seen_at", where=_NO_SUBJECT.format(id="id")),
        days=1,
        per_tenant=False,
    ),
    Kept(
        what="ai_labels",
        about="labels of what is gone",
        step=rows("ai_labels", at="created_at", where=_NO_SUBJECT.format(id="subject_id")),
        days=1,
        per_tenant=False,
    ),
    Kept(
        what="ai_results",
        about="what models answered, where nothing points to it",
        step=rows("ai_results", at="created_at", where=_OF_NO_USE),
    ),
)


def days_kept(tx: Connection, settings: Settings, tenant_id: UUID, what: str) -> int:
    """How many days the tenant keeps one kind of thing."""
    return {
        term.what: term.days
        for term in terms(tx, KEPT, default=settings.retention_days, tenant_id=tenant_id)
    }[what]


def chosen_words(words: Iterable[str], *, of_tenant: bool) -> dict[str, int | None]:
    """What `imports=90` and the like ask for; None is the default again. Raises Unprocessable, which says
    what there is to choose.
    """
    choices = [one.what for one in KEPT if one.per_tenant or not of_tenant]
    found: dict[str, int | None] = {}
    for word in words:
        what, _, days = word.partition("=")
        if what not in choices:
            raise Unprocessable(f"{what!r} can't be chosen. There are: {', '.join(choices)}.")
        if days != "default" and not (days.isdecimal() and 1 <= int(days) <= MAX_DAYS):
            raise Unprocessable(
                f"{word!r} is no retention. Use WHAT=DAYS with 1 to {MAX_DAYS} days, or WHAT=default."
            )
        found[what] = None if days == "default" else int(days)
    return found
