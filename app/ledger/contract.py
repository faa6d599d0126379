"""What a job declares about itself: its name, version, queue, limits and retry policy.

    class SendWelcome(JobContract):
        spec: ClassVar[JobSpec] = JobSpec(kind="mail.welcome", queue=Queue.HIGH)

        contact_id: UUID

The class is the payload's shape; the facts are in `SendWelcome.spec`. A kind is stored data: it never
follows the module's path.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from types import MappingProxyType
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from app.broker.topology import Queue
from app.errors import Unprocessable
from app.ledger.concurrency import Concurrency
from app.ledger.retry import RetryPolicy

MAX_HARD_SECONDS = 900
"""Well below RabbitMQ's consumer_timeout of 30 minutes, which would close the worker's channel."""
MAX_BRIEF_SECONDS = 10
MAX_PRIORITY = 100
_FIRST_ZONE = timezone(timedelta(hours=14))
AFFINE_AT_ONCE = 2
"""One that runs, and the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """The declared facts of one kind of job. Times are seconds.

    `priority` orders a tenant's jobs within their queue, lowest first; other tenants have their own turns.

    `together` is for jobs of milliseconds: of those that are due at the same time, so many travel in one
    message, and one child runs them one after the other. Each is claimed, run and settled on its own; the
    time limits hold for all that travel together, and who would begin in the second half of the soft one is sent
    again. Those that are brief as well share a transaction.

    `public` kinds may be posted by tenants, through `POST /v1/jobs` and schedules: their handlers trust
    nothing in the payload, and look at nothing but what the tenant owns.

    `brief` kinds end within a moment and act on the database alone: claim, handler and end are then one
    transaction, at half the price. They have no lease, and so no progress, check, checkpoint, effects
    elsewhere or locks; their time limits are at most MAX_BRIEF_SECONDS.

    `concurrency` says which of a tenant's jobs run one at a time, or in order.

    `affinity` is for work that profits from what the last job of the same tenant left in memory or on disk: where
    MILLRACE_AFFINITY_SHARDS is set, a tenant's jobs go to one worker while it is there. At most AFFINE_AT_ONCE of
    a tenant's are with the broker or a worker at once, with or without that setting: the kind has a concurrency
    key by that, and no other.
    """

    kind: str
    version: int = 1
    queue: Queue = Queue.DEFAULT
    priority: int = 0
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    soft_seconds: int = 60
    hard_seconds: int = 90
    together: int = 1
    public: bool = False
    brief: bool = False
    concurrency: Concurrency | None = None
    affinity: bool = False

    def __post_init__(self) -> None:
        if not self.kind or self.version < 1:
            raise ValueError(f"a job needs a kind and a version >= 1: {self}")
        if abs(self.priority) > MAX_PRIORITY:
            raise ValueError(
                f"{self.kind}: a priority is between -{MAX_PRIORITY} and {MAX_PRIORITY}"
            )
        if self.together < 1:
            raise ValueError(f"{self.kind}: at least one job travels in a message")
        if not 0 < self.soft_seconds < self.hard_seconds <= MAX_HARD_SECONDS:
            raise ValueError(
                f"{self.kind}: time limits need 0 < soft < hard <= {MAX_HARD_SECONDS} seconds"
            )
        if self.brief and self.hard_seconds > MAX_BRIEF_SECONDS:
            raise ValueError(
                f"{self.kind}: a brief job has hard_seconds <= {MAX_BRIEF_SECONDS}: it holds its row"
            )
        if self.affinity:
            self._have_affinity()

    def _have_affinity(self) -> None:
        """What a tenant has more than that waits in the outbox: a shard serves one at a time, and of whoever shares it
        none is to wait behind a backlog.
        """
        if self.together > 1 or self.concurrency is not None:
            raise ValueError(
                f"{self.kind}: affinity goes with neither `together` nor `concurrency`"
            )
        key = f"{self.kind}:affinity"
        own = Concurrency(key=lambda _job: key, limit=AFFINE_AT_ONCE)
        object.__setattr__(self, "concurrency", own)


class UnreadablePayload(Exception):
    """No version of the contract that is known here fits the payload."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


Upcast = Callable[[dict[str, Any]], dict[str, Any]]
Catalog = Mapping[str, type["JobContract"]]


class JobContract(BaseModel):
    """Base of every payload; each subclass sets its `spec`.

    `upcasts` maps a version to what turns its payload into the next version's, so that jobs which were
    enqueued, or died, under an older version still run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    spec: ClassVar[JobSpec]
    upcasts: ClassVar[Mapping[int, Upcast]] = MappingProxyType({})

    @property
    def makes_sense_from(self) -> datetime | None:
        """When the day or month that it is about begins; None for kinds that are about no such thing."""
        return None

    def check_makes_sense(self, at: datetime) -> None:
        """Raises Unprocessable where that is later than `at`, when the job would run."""
        begins = self.makes_sense_from
        if begins is not None and begins > at:
            raise Unprocessable(
                f"What the payload names begins on {begins:%Y-%m-%d}, after the job. Name a time that has begun by then, "
                "or have it run later.",
                code="not_begun",
            )

    @classmethod
    def read(cls, version: int, payload: Mapping[str, Any]) -> Self:
        """The payload of any version up to this one. Raises UnreadablePayload, which says why."""
        facts = dict(payload)
        for older in range(version, cls.spec.version):
            upcast = cls.upcasts.get(older)
            if upcast is None:
                break
            try:
                facts = upcast(facts)
            except Exception as bad:
                raise UnreadablePayload(
                    f"The payload of {cls.spec.kind} version {older} can't be brought to version "
                    f"{older + 1}: {type(bad).__name__}: {bad}",
                    code="invalid_payload",
                ) from bad
            version = older + 1
        if version != cls.spec.version:
            raise UnreadablePayload(
                f"The job is {cls.spec.kind} version {version}; here is version {cls.spec.version}.",
                code="wrong_version",
            )
        try:
            return cls.model_validate(facts)
        except ValidationError as bad:
            fields = ", ".join(".".join(map(str, e["loc"])) or "payload" for e in bad.errors())
            raise UnreadablePayload(
                f"The payload doesn't fit {cls.spec.kind}: {fields}.", code="invalid_payload"
            ) from None


def first_moment(day: date) -> datetime:
    """When the day begins where it begins first: whose it is isn't known yet."""
    return datetime.combine(day, time.min, _FIRST_ZONE)


def catalog(contracts: Iterable[type[JobContract]]) -> Catalog:
    """Contracts by kind. Raises ValueError when two share one, and for a concurrency key that is no field."""
    known: dict[str, type[JobContract]] = {}
    for contract in contracts:
        concurrency = contract.spec.concurrency
        key = None if concurrency is None else concurrency.key
        if isinstance(key, str) and key not in contract.model_fields:
            raise ValueError(f"{contract.spec.kind}: its concurrency key {key!r} is no field of it")
        if contract.spec.kind in known:
            raise ValueError(f"two contracts are called {contract.spec.kind!r}")
        known[contract.spec.kind] = contract
    return MappingProxyType(known)
