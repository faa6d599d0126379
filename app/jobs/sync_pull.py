"""Take the changes that a remote system has."""

from typing import ClassVar
from uuid import UUID

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy


class SyncPull(JobContract):
    """The run that it is a part of. It commits page by page, with the cursor, and goes on in another delivery
    when it has worked for a minute.
    """

    spec: ClassVar[JobSpec] = JobSpec(
        kind="sync.pull",
        queue=Queue.DEFAULT,
        retry=RetryPolicy(attempts=8, base_seconds=2, cap_seconds=600),
        soft_seconds=240,
        hard_seconds=300,
    )

    run_id: UUID
    connection_id: UUID
