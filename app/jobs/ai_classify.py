"""Sort a tenant's contacts or documents under labels."""

from typing import Annotated, ClassVar, Literal, Self
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from app.broker.topology import Queue
from app.jobs.ai_embed_contacts import MAX_IDS
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy

Label = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]


class AiClassify(JobContract):
    """Every one, or those of `ids`, under one of the `labels`; `name` tells classifications apart. What was
    asked before, and is as it was, is not asked again. Some tens at a time, as ai.embed_contacts.
    """

    spec: ClassVar[JobSpec] = JobSpec(
        kind="ai.classify",
        queue=Queue.LOW,
        retry=RetryPolicy(attempts=10, base_seconds=5, cap_seconds=900),
        soft_seconds=600,
        hard_seconds=660,
        public=True,
    )

    what: Literal["contacts", "documents"]
    name: Annotated[
        str,
        StringConstraints(min_length=1, max_length=100, pattern=r"^[\w.-]+$"),
        Field(examples=["industry"]),
    ]
    labels: Annotated[
        list[Label], Field(min_length=2, max_length=100, examples=[["dentist", "garage", "other"]])
    ]
    instruction: Annotated[str, StringConstraints(max_length=2000)] = ""
    ids: Annotated[list[UUID], Field(min_length=1, max_length=MAX_IDS)] | None = None
    after: UUID | None = None

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("Each label once.")
        return self
