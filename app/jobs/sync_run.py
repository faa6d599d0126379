"""Begin to bring a connection up to date."""

from typing import ClassVar
from uuid import UUID

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy


class SyncRun(JobContract):
    """The connection. Nothing happens while its last run hasn't ended, or while it is paused."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="sync.run",
        queue=Queue.DEFAULT,
        retry=RetryPolicy(attempts=5, base_seconds=2, cap_seconds=600),
        soft_seconds=8,
        hard_seconds=10,
        public=True,
        brief=True,
    )

    connection_id: UUID
