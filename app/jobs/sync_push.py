"""Send our changes to a remote system."""

from typing import ClassVar
from uuid import UUID

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy


class SyncPush(JobContract):
    """The run that it is a part of. It commits batch by batch; each change has an idempotency key of its
    own.
    """

    spec: ClassVar[JobSpec] = JobSpec(
        kind="sync.push",
        queue=Queue.DEFAULT,
        retry=RetryPolicy(attempts=8, base_seconds=2, cap_seconds=600),
        soft_seconds=240,
        hard_seconds=300,
    )

    run_id: UUID
    connection_id: UUID
