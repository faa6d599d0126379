"""The campaign's kinds of job. `number` is the order that a job fulfils: effects are counted by it.

Attempts are many and pauses short: a kill uses up an attempt, and it's the promises that are on trial here
and not the patience of a policy.
"""

from typing import ClassVar

from app.broker.topology import Queue
from app.jobs import CATALOG as PRODUCT
from app.ledger.contract import JobContract, JobSpec, catalog
from app.ledger.retry import RetryPolicy

PATIENT = RetryPolicy(attempts=40, base_seconds=0.2, cap_seconds=2.0)


def _spec(kind: str, queue: Queue = Queue.DEFAULT, *, small: bool = False) -> JobSpec:
    return JobSpec(
        kind=f"chaos.{kind}",
        queue=queue,
        retry=PATIENT,
        soft_seconds=8 if small else 20,
        hard_seconds=10 if small else 25,
        public=True,
        brief=small,
        together=4 if small else 1,
    )


class Order(JobContract):
    """One row in `chaos_effects`, written in the job's transaction after `millis` in it."""

    number: int
    millis: int = 0


class Row(Order):
    spec: ClassVar[JobSpec] = _spec("row")


class Urgent(Order):
    """The same, claimed and done in one commit; several travel in one message."""

    spec: ClassVar[JobSpec] = _spec("urgent", Queue.HIGH, small=True)


class Lazy(Order):
    spec: ClassVar[JobSpec] = _spec("lazy", Queue.LOW)


class Charge(Order):
    """A charge at the provider, and a row."""

    spec: ClassVar[JobSpec] = _spec("charge")


class Flaky(Order):
    """Fails in its first `failures` attempts, after it has written its row."""

    spec: ClassVar[JobSpec] = _spec("flaky")
    failures: int


class Link(Order):
    """A link of a chain: a row, and the next link in the same commit, until `left` is 0. Where the number
    is odd, the first one enqueues all the others up front, each waiting for the one before.
    """

    spec: ClassVar[JobSpec] = _spec("link")
    step: int = 0
    left: int


class Fan(Order):
    """A row, and `pieces` more side by side, then one that finds them all there: in a batch with a window
    of `window`, or without a batch where that is 0.
    """

    spec: ClassVar[JobSpec] = _spec("fan")
    pieces: int
    window: int


class Piece(Order):
    """One row of a fan; small as Urgent is."""

    spec: ClassVar[JobSpec] = _spec("piece", small=True)
    step: int


class Gather(Order):
    """The last row of a fan: dead when one of the `pieces` rows is not there, or there twice."""

    spec: ClassVar[JobSpec] = _spec("gather")
    pieces: int


class Locked(Order):
    """Adds one to an account by reading it, pausing and writing it back, under the account's lock."""

    spec: ClassVar[JobSpec] = _spec("locked")
    account: int


class Steps(Order):
    """`steps` rows, a checkpoint each, with `millis` between them."""

    spec: ClassVar[JobSpec] = _spec("steps")
    steps: int


class Long(Order):
    """Works for `millis`, looking up now and then, and writes its row at the end."""

    spec: ClassVar[JobSpec] = _spec("long", Queue.LOW)


class Doomed(Order):
    """Dies for good, until somebody has put the reason right."""

    spec: ClassVar[JobSpec] = _spec("doomed")


class Tick(JobContract):
    """What a schedule fires: a row for its slot."""

    spec: ClassVar[JobSpec] = _spec("tick")
    schedule: int


KINDS = (
    *(Row, Urgent, Lazy, Charge, Flaky, Link, Fan, Piece, Gather),
    *(Locked, Steps, Long, Doomed, Tick),
)
CATALOG = catalog((*PRODUCT.values(), *KINDS))
