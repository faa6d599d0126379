"""Which function handles which contract. The decorator returns the plain function, so a test just calls it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from app.ledger.contract import JobContract
from workers.runtime.context import Context
from workers.runtime.outcome import Outcome
from workers.runtime.soft_limit import interruptible

JobT = TypeVar("JobT", bound=JobContract)
Handler = Callable[[Context, JobT], Outcome]


@dataclass(frozen=True, slots=True)
class Registration:
    """A contract and its handler."""

    contract: type[JobContract]
    handler: Callable[[Context, Any], Outcome]


_registrations: dict[str, Registration] = {}


def handles(contract: type[JobT]) -> Callable[[Handler[JobT]], Handler[JobT]]:
    """Register the decorated function for `contract`. Raises ValueError when the kind is taken."""

    def register(handler: Handler[JobT]) -> Handler[JobT]:
        kind = contract.spec.kind
        if kind in _registrations:
            raise ValueError(f"{kind!r} has two handlers")
        _registrations[kind] = Registration(contract, interruptible(handler))
        return handler

    return register


def registrations() -> Mapping[str, Registration]:
    """By kind; complete once `workers.handlers` is imported."""
    return _registrations
