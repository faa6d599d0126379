"""Apply a recorded event of the payment provider's."""

from typing import ClassVar
from uuid import UUID

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy


class PaymentApplyEvent(JobContract):
    """The event, by our own id. Safe to run again: what it changes and its mark commit together."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="payment.apply_event",
        queue=Queue.HIGH,
        retry=RetryPolicy(attempts=10, base_seconds=1, cap_seconds=600),
        soft_seconds=8,
        hard_seconds=10,
        brief=True,
        together=8,
    )

    event_id: UUID
