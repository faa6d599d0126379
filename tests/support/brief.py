"""A brief kind of job, and an effect that shows how often its handler was committed."""

from dataclasses import replace
from typing import ClassVar

from sqlalchemy import text

from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy
from workers.runtime.context import Context

_EFFECT = text("""
    INSERT INTO locks (tenant_id, name) VALUES (:tenant_id, gen_random_uuid())
    RETURNING pg_current_xact_id()::text::bigint
""")


class BriefNote(JobContract):
    """Three attempts, one second apart at first, without dice; up to eight in one message."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="test.brief",
        retry=RetryPolicy(attempts=3, base_seconds=1, jitter=False),
        soft_seconds=5,
        hard_seconds=10,
        brief=True,
        together=8,
    )


class LoneNote(BriefNote):
    """The same, in a message of its own."""

    spec: ClassVar[JobSpec] = replace(BriefNote.spec, kind="test.lone", together=1)


def leave_effect(ctx: Context) -> int:
    """One more row in `locks`; the number of the transaction that it is in."""
    with ctx.transaction() as tx:
        number: int = tx.execute(_EFFECT, {"tenant_id": ctx.tenant_id}).scalar_one()
    return number
