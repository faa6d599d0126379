"""Something of everything that the operators' console shows, with a word in all that customers sent."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Engine, text

from app.ids import new_id
from tests.support.customers import Customer
from tests.support.deaths import dead, incident_of
from tests.support.jobs import Note, add, running

CANARY = "canary"
_IMPORT = text("""
    INSERT INTO imports (id, tenant_id, job_id, status, filename, target, policy, object_key, error,
                         columns, fields, bytes_total)
    VALUES (:id, :tenant_id, :job_id, 'failed', 'canary-file.csv', 'contacts', 'upsert', 'x',
            '{"code": "broken", "message": "canary row"}', '["canary column"]', '["email"]', 10)
""")
_MAIL = text("""
    INSERT INTO mails (id, tenant_id, job_id, template, recipient, subject, message_id, status,
                       reply_code, answer)
    VALUES (:id, :tenant_id, :job_id, 'welcome', 'canary@example.com', 'canary subject', 'x',
            'refused', 550, 'no canary here')
""")
_ENDPOINT = text("""
    INSERT INTO webhook_endpoints (id, tenant_id, url, description, events, secret)
    VALUES (:id, :tenant_id, 'https://hooks.example/canary?token=canary', 'canary words', '["*"]', 'x')
""")
_EVENT = text("""
    INSERT INTO webhook_events (id, tenant_id, type, data)
    VALUES (:id, :tenant_id, 'import.finished', '{"name": "canary"}')
""")
_DELIVERY = text("""
    INSERT INTO webhook_deliveries (id, tenant_id, event_id, endpoint_id, job_id, state, reason, attempts)
    VALUES (:id, :tenant_id, :event_id, :endpoint_id, :job_id, 'failed', 'canary reason', 1)
""")
_ATTEMPT = text("""
    INSERT INTO webhook_attempts (id, tenant_id, delivery_id, number, error, duration_ms, excerpt)
    VALUES (:id, :tenant_id, :delivery_id, 1, 'canary error', 12, 'canary excerpt')
""")
_SCHEDULE = text("""
    INSERT INTO schedules (id, tenant_id, name, kind, version, payload, cron, catch_up, next_at)
    VALUES (:id, :tenant_id, 'nightly', 'report.daily', 1, '{"to": "canary"}', '0 3 * * *', 'last',
            clock_timestamp() + interval '1 hour')
""")
_KEYED = text(
    "UPDATE jobs SET unique_key = 'canary-key', concurrency_key = 'canary-key', checkpoint = '{\"at\": \"canary\"}' WHERE id = :id"
)
_RETRIED = text("""
    INSERT INTO job_history (tenant_id, job_id, event, from_state, to_state, attempt, detail)
    VALUES (:tenant_id, :id, 'retry', 'running', 'scheduled', 1,
            '{"code": "exception", "message": "canary in history"}')
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """The ids of it all."""

    job: UUID
    dead: UUID
    running: UUID
    incident: UUID
    imported: UUID
    delivery: UUID
    schedule: UUID

    @property
    def pages(self) -> list[str]:
        """Every page of the operators' console that can be opened by a viewer."""
        return [
            "overview",
            "jobs",
            f"jobs?q={self.dead}",
            "jobs?state=dead",
            f"jobs/{self.job}",
            f"jobs/{self.dead}",
            f"jobs/{self.running}",
            "incidents",
            f"incidents/{self.incident}",
            "dispatch",
            "schedules",
            f"schedules/{self.schedule}",
            "import-log",
            f"import-log/{self.imported}",
            "webhooks",
            "webhooks/endpoints",
            f"webhooks/{self.delivery}",
            "mail-log",
            "audit",
        ]


def fill(engine: Engine, tenant: Customer) -> Filled:
    """Make it."""
    job_id = add(engine, tenant.id, Note(text=CANARY))
    gone = dead(engine, tenant.id, Note(text=CANARY), "canary message", frame="app.place:act")
    claimed = running(engine, tenant.id, Note(text=CANARY))
    ids = {name: new_id() for name in ("import", "endpoint", "event", "delivery", "schedule")}
    mine = {"tenant_id": tenant.id, "job_id": job_id}
    with engine.begin() as tx:
        tx.execute(text("UPDATE dead_letters SET body = 'canary', headers = '{\"h\": \"canary\"}'"))
        tx.execute(_KEYED, {"id": job_id})
        tx.execute(_RETRIED, {"id": job_id, "tenant_id": tenant.id})
        tx.execute(_IMPORT, {**mine, "id": ids["import"]})
        tx.execute(_MAIL, {**mine, "id": new_id()})
        tx.execute(_ENDPOINT, {**mine, "id": ids["endpoint"]})
        tx.execute(_EVENT, {**mine, "id": ids["event"]})
        facts = {"id": ids["delivery"], "event_id": ids["event"], "endpoint_id": ids["endpoint"]}
        tx.execute(_DELIVERY, {**mine, **facts})
        tx.execute(_ATTEMPT, {**mine, "id": new_id(), "delivery_id": ids["delivery"]})
        tx.execute(_SCHEDULE, {**mine, "id": ids["schedule"]})
    return Filled(
        job=job_id,
        dead=gone,
        running=claimed.id,
        incident=incident_of(engine, gone)["id"],
        imported=ids["import"],
        delivery=ids["delivery"],
        schedule=ids["schedule"],
    )
