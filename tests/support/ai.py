"""Contacts and documents for the AI tests, and what is kept about them."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, text

from app.ai.documents import add
from app.ai.results import unpacked
from app.ids import new_id
from app.ledger.contract import JobContract
from tests.support.jobs import add_queued, job_facts, requeue
from tests.support.runtime import Worker

_CONTACT = text("""
    INSERT INTO contacts (id, tenant_id, email, first_name, company, attributes)
    VALUES (:id, :tenant_id, :email, :first_name, :company, '{}')
""")


def add_contacts(engine: Engine, tenant_id: UUID, companies: Sequence[str]) -> list[UUID]:
    """One contact per company, without a name, in the order of their addresses."""
    ids = [new_id() for _ in companies]
    with engine.begin() as tx:
        for at, (contact_id, company) in enumerate(zip(ids, companies, strict=True)):
            tx.execute(
                _CONTACT,
                {
                    "id": contact_id,
                    "tenant_id": tenant_id,
                    "email": f"{at:05d}-{contact_id}@example.com",
                    "first_name": None,
                    "company": company,
                },
            )
    return ids


def add_document(engine: Engine, tenant_id: UUID, title: str, words: str) -> UUID:
    with engine.begin() as tx:
        return add(tx, tenant_id, title=title, words=words)


def run(worker: Worker, tenant_id: UUID, job: JobContract) -> UUID:
    """The job, once."""
    job_id = add_queued(worker.runtime.engine, tenant_id, job)
    worker.deliver(job_id)
    return job_id


def run_again(worker: Worker, job_id: UUID) -> str:
    """A job that is waiting for its time, now; its state after that."""
    requeue(worker.runtime.engine, job_id)
    worker.deliver(job_id)
    return job_facts(worker.runtime.engine, job_id).state


def run_all(worker: Worker, tenant_id: UUID, job: JobContract) -> list[UUID]:
    """The job, and all that follow it."""
    engine = worker.runtime.engine
    done = [run(worker, tenant_id, job)]
    while True:
        with engine.connect() as tx:
            waiting = tx.execute(
                text("SELECT id FROM jobs WHERE state = 'scheduled' AND id <> ALL(:done)"),
                {"done": done},
            ).scalars()
            ids = list(waiting)
        if not ids:
            return done
        for job_id in ids:
            run_again(worker, job_id)
            done.append(job_id)


def passages(engine: Engine, tenant_id: UUID) -> list[tuple[UUID, int, int, list[float]]]:
    """Subject, begin, end and vector of each passage."""
    query = text("""
        SELECT p.subject_id, p.begin_at, p.end_at, r.result FROM ai_passages p
        JOIN ai_results r ON r.tenant_id = p.tenant_id AND r.hash = p.hash
        WHERE p.tenant_id = :tenant_id ORDER BY p.subject_id, p.begin_at
    """)
    with engine.connect() as tx:
        rows = tx.execute(query, {"tenant_id": tenant_id}).all()
    return [(r.subject_id, r.begin_at, r.end_at, unpacked(bytes(r.result))) for r in rows]


def labels(engine: Engine, tenant_id: UUID) -> dict[UUID, str]:
    query = text("SELECT subject_id, label FROM ai_labels WHERE tenant_id = :tenant_id")
    with engine.connect() as tx:
        return {row.subject_id: row.label for row in tx.execute(query, {"tenant_id": tenant_id})}


def spent(engine: Engine, tenant_id: UUID) -> Decimal:
    """By the budget's books; the usage's must say the same."""
    query = text("""
        SELECT coalesce((SELECT sum(spent) FROM ai_spending WHERE tenant_id = :id), 0) AS spent,
               coalesce((SELECT sum(cost) FROM ai_usage WHERE tenant_id = :id), 0) AS used
    """)
    with engine.connect() as tx:
        row = tx.execute(query, {"id": tenant_id}).one()
    assert row.spent == row.used
    return Decimal(row.spent)


def usage(engine: Engine, tenant_id: UUID) -> dict[str, tuple[int, int, int]]:
    """Requests, input and output tokens by purpose."""
    query = text("""
        SELECT purpose, sum(requests)::int, sum(input_tokens)::int, sum(output_tokens)::int
        FROM ai_usage WHERE tenant_id = :id GROUP BY purpose
    """)
    with engine.connect() as tx:
        return {row[0]: (row[1], row[2], row[3]) for row in tx.execute(query, {"id": tenant_id})}


def set_budget(engine: Engine, tenant_id: UUID, amount: str) -> None:
    with engine.begin() as tx:
        tx.execute(
            text("UPDATE tenants SET ai_monthly_budget = :amount WHERE id = :id"),
            {"id": tenant_id, "amount": Decimal(amount)},
        )


def claims(engine: Engine) -> list[Any]:
    with engine.connect() as tx:
        return list(tx.execute(text("SELECT hash FROM ai_results WHERE result IS NULL")).scalars())
