"""Which function handles which contract. The decorator returns the plain function, so a test just calls it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection

from app.ledger.contract import JobContract
from workers.runtime.context import Context
from workers.runtime.outcome import Outcome

JobT = TypeVar("JobT", bound=JobContract)
Handler = Callable[[Context, JobT], Outcome]
OnDead = Callable[[Connection, JobT, dict[str, str]], Sequence[JobContract]]


@dataclass(frozen=True, slots=True)
class Registration:
    """A handler, and what is to happen in the commit in which a job of its kind dies."""

    contract: type[JobContract]
    handler: Callable[[Context, Any], Outcome]
    on_dead: Callable[[Connection, Any, dict[str, str]], Sequence[JobContract]] | None


_registrations: dict[str, Registration] = {}


def handles(
    contract: type[JobT], *, on_dead: OnDead[JobT] | None = None
) -> Callable[[Handler[JobT]], Handler[JobT]]:
    """Register the decorated function for `contract`. Raises ValueError when the kind is taken.

    `on_dead(tx, job, error)` runs in the transaction that records the death; what it returns is
    enqueued there.
    """

    def register(handler: Handler[JobT]) -> Handler[JobT]:
        kind = contract.spec.kind
        if kind in _registrations:
            raise ValueError(f"{kind!r} has two handlers")
        _registrations[kind] = Registration(contract, handler, on_dead)
        return handler

    return register


def registrations() -> Mapping[str, Registration]:
    """By kind; complete once `workers.handlers` is imported."""
    return _registrations
