"""What a handler may answer. Anything else is a bug, and the job is dead with that reason."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.ledger.flows import Flow


@dataclass(frozen=True, slots=True)
class Done:
    """It worked; `then` is enqueued in the same commit, as children of this job: jobs, chains, fan-ins and
    batches.
    """

    then: Sequence[Flow] = ()


@dataclass(frozen=True, slots=True)
class Retry:
    """It didn't work this time. The policy decides when to try again, but not before `after_seconds`."""

    reason: str
    after_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Snooze:
    """It is too early; this costs no attempt. A `reason`, with its `code`, is kept on the job and in its
    history, for a wait that somebody may ask about.
    """

    seconds: float
    reason: str | None = None
    code: str = "snoozed"


@dataclass(frozen=True, slots=True)
class Cancel:
    """There is nothing left to do."""

    reason: str


@dataclass(frozen=True, slots=True)
class Dead:
    """It can never work: no retry, straight to the dead letters."""

    reason: str
    code: str = "rejected_by_handler"


Outcome = Done | Retry | Snooze | Cancel | Dead


class PermanentError(Exception):
    """Raise it where trying again can't help; the job dies with this message."""

    def __init__(self, message: str, *, code: str = "permanent_error") -> None:
        super().__init__(message)
        self.code = code
