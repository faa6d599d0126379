"""Make a tenant's documents findable by meaning."""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from app.broker.topology import Queue
from app.jobs.ai_embed_contacts import MAX_IDS
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy


class AiEmbedDocuments(JobContract):
    """As ai.embed_contacts, for documents: those that are new or changed, of `ids` where given."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="ai.embed_documents",
        queue=Queue.LOW,
        retry=RetryPolicy(attempts=10, base_seconds=5, cap_seconds=900),
        soft_seconds=600,
        hard_seconds=660,
        public=True,
    )

    ids: Annotated[list[UUID], Field(min_length=1, max_length=MAX_IDS)] | None = None
    after: UUID | None = None
