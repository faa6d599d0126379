"""What a job declares about itself: its name, version, queue, limits and retry policy.

    class SendWelcome(JobContract):
        spec: ClassVar[JobSpec] = JobSpec(kind="mail.welcome", queue=Queue.HIGH)

        contact_id: UUID

The class is the payload's shape; the facts are in `SendWelcome.spec`. A kind is stored data: it never
follows the module's path.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from app.broker.topology import Queue
from app.ledger.retry import RetryPolicy

MAX_HARD_SECONDS = 900
"""Well below RabbitMQ's consumer_timeout of 30 minutes, which would close the worker's channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """The declared facts of one kind of job. Times are seconds."""

    kind: str
    version: int = 1
    queue: Queue = Queue.DEFAULT
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    soft_seconds: int = 60
    hard_seconds: int = 90

    def __post_init__(self) -> None:
        if not self.kind or self.version < 1:
            raise ValueError(f"a job needs a kind and a version >= 1: {self}")
        if not 0 < self.soft_seconds < self.hard_seconds <= MAX_HARD_SECONDS:
            raise ValueError(
                f"{self.kind}: time limits need 0 < soft < hard <= {MAX_HARD_SECONDS} seconds"
            )


class JobContract(BaseModel):
    """Base of every payload; each subclass sets its `spec`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    spec: ClassVar[JobSpec]


def catalog(contracts: Iterable[type[JobContract]]) -> Mapping[str, type[JobContract]]:
    """Contracts by kind. Raises ValueError when two share one."""
    known: dict[str, type[JobContract]] = {}
    for contract in contracts:
        if contract.spec.kind in known:
            raise ValueError(f"two contracts are called {contract.spec.kind!r}")
        known[contract.spec.kind] = contract
    return MappingProxyType(known)
