"""Kinds of job that only `worker_app` handles: each does to its worker what jobs must be able to do."""

from typing import ClassVar

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy

PROMPT = RetryPolicy(attempts=5, base_seconds=0.1, cap_seconds=0.1, jitter=False)


class Tally(JobContract):
    """Leaves one row in `tallies`: two rows of one job are an effect that happened twice."""

    spec: ClassVar[JobSpec] = JobSpec(kind="test.tally", public=True)

    seconds: float = 0.0


class BriefTally(Tally):
    """As Tally, in one transaction. With `kills` it kills its process instead, in every attempt; three are allowed."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="test.brief_tally",
        retry=RetryPolicy(attempts=3),
        soft_seconds=5,
        hard_seconds=10,
        brief=True,
    )

    kills: bool = False


class UrgentTally(Tally):
    spec: ClassVar[JobSpec] = JobSpec(kind="test.urgent_tally", queue=Queue.HIGH)


class Hold(JobContract):
    """Runs until the file `gate` is there."""

    spec: ClassVar[JobSpec] = JobSpec(kind="test.hold")

    gate: str


class Rare(Hold):
    """As Hold; few at once."""

    spec: ClassVar[JobSpec] = JobSpec(kind="test.rare")


class Doomed(JobContract):
    """Can never work."""

    spec: ClassVar[JobSpec] = JobSpec(kind="test.doomed")


class Stuck(JobContract):
    """Hangs in its first attempt, beyond every limit."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="test.stuck", retry=RetryPolicy(attempts=3), soft_seconds=1, hard_seconds=2
    )


class Killer(JobContract):
    """Kills its process in every attempt; three are allowed."""

    spec: ClassVar[JobSpec] = JobSpec(kind="test.killer", retry=RetryPolicy(attempts=3))


class Maniac(JobContract):
    """As Killer, with more attempts than the broker has patience for."""

    spec: ClassVar[JobSpec] = JobSpec(kind="test.maniac", retry=RetryPolicy(attempts=1000))


class Slow(JobContract):
    """Goes on beyond its soft limit in its first attempt, and makes the file `tidied` when told to end."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="test.slow", retry=PROMPT, soft_seconds=1, hard_seconds=30
    )

    tidied: str


class Query(JobContract):
    """Waits in the database, for a lock on `tallies` at that, beyond its soft limit."""

    spec: ClassVar[JobSpec] = JobSpec(
        kind="test.query", retry=PROMPT, soft_seconds=1, hard_seconds=30
    )


class Warm(Tally):
    """As Tally, and wants the same worker for a tenant."""

    spec: ClassVar[JobSpec] = JobSpec(kind="test.warm", affinity=True)


class Hog(Tally):
    """As Tally, with so much memory in hand."""

    spec: ClassVar[JobSpec] = JobSpec(kind="test.hog")

    mib: int
