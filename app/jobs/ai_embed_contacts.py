"""Make a tenant's contacts findable by meaning."""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy

MAX_IDS = 500


class AiEmbedContacts(JobContract):
    """Those that are new or changed; of `ids` where given. Some hundreds at a time: a following job goes on
    behind the contact `after`. What was paid for is kept, whatever becomes of the job.
    """

    spec: ClassVar[JobSpec] = JobSpec(
        kind="ai.embed_contacts",
        queue=Queue.LOW,
        retry=RetryPolicy(attempts=10, base_seconds=5, cap_seconds=900),
        soft_seconds=600,
        hard_seconds=660,
        public=True,
    )

    ids: Annotated[list[UUID], Field(min_length=1, max_length=MAX_IDS)] | None = None
    after: UUID | None = None
