"""Send one event to one of the tenant's endpoints."""

from typing import ClassVar
from uuid import UUID

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy


class WebhookDeliver(JobContract):
    """The delivery, which knows event and endpoint; a redelivery is its next `run`. The pauses between attempts are the handler's own, over
    a day; the policy's are shorter and hold where the handler itself fails.
    """

    spec: ClassVar[JobSpec] = JobSpec(
        kind="webhook.deliver",
        queue=Queue.DEFAULT,
        retry=RetryPolicy(attempts=11, base_seconds=5, cap_seconds=600),
        soft_seconds=30,
        hard_seconds=45,
    )

    delivery_id: UUID
    run: int = 1
