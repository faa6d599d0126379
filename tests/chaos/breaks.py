"""The promises, broken on purpose, one at a time: the campaign must notice each.

Two of them the product would heal: it finds out that a message is missing, and puts the job back. Those
are broken together with the rescue that heals them, for a promise that another one covers up can't be
seen to be broken.

fence     a claim takes what another worker runs, and an attempt that lost its job commits all the same
confirm   jobs are marked as queued without the broker's word for it; lost messages are not looked for
ack       messages are acknowledged before their jobs run; expired leases are not looked for
rescue    nothing is looked for
"""

import os
from collections.abc import Sequence
from types import ModuleType
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text

from app.broker.publisher import Publishable, Publisher

BREAK = "CHAOS_BREAK"
PROMISES = ("fence", "confirm", "ack", "rescue")

WITHOUT = {"confirm": ("lose messages",)}
"""Faults that would break the promise by themselves once the rescue is off."""


def in_worker(celery: Any) -> None:
    """Break what the environment says, if it is a worker's to keep."""
    match os.environ.get(BREAK):
        case "fence":
            _drop_the_fence()
        case "ack":
            celery.conf.task_acks_late = False
            for task in celery.tasks.values():
                task.acks_late = False


def in_dispatcher() -> None:
    """Break what the environment says, if it is the dispatcher's to keep."""
    broken = os.environ.get(BREAK)
    if broken == "confirm":
        _publish_without_confirms()
    if broken in {"confirm", "rescue"}:
        _leave_lost_messages()
    if broken in {"ack", "rescue"}:
        _leave_expired_leases()


def _drop_the_fence() -> None:
    from app.ledger import store

    guard = "attempt = :attempt AND state = 'running'"
    guarded = [
        name
        for name, value in vars(store).items()
        if isinstance(value, TextClause) and guard in value.text
    ]
    _must_be_there("the fence", guarded)
    for name in guarded:
        _rewrite(store, name, guard, "CAST(:attempt AS int) IS NOT NULL")
    _rewrite(store, "_CLAIM", "target.lease_until < clock_timestamp()", "true")


def _publish_without_confirms() -> None:
    def publish(self: Publisher, messages: Sequence[Publishable]) -> list[bool]:
        for message in messages:
            exchange, key = message.route
            self._channel.basic_publish(message.encode(), exchange, routing_key=key)
        return [True for _ in messages]

    Publisher.publish = publish  # type: ignore[method-assign]


def _leave_lost_messages() -> None:
    from app.housekeeping import collector

    _find_nothing(collector, "rescue_unheard")


def _leave_expired_leases() -> None:
    from app.housekeeping import timekeeper

    _find_nothing(timekeeper, "rescue_expired_leases")


def _find_nothing(module: ModuleType, name: str) -> None:
    def nothing(*_: object, **__: object) -> list[UUID]:
        return []

    _must_be_there(name, name in vars(module))
    setattr(module, name, nothing)


def _rewrite(module: ModuleType, name: str, old: str, new: str) -> None:
    statement = str(getattr(module, name).text)
    _must_be_there(f"{name}: {old}", old in statement)
    setattr(module, name, text(statement.replace(old, new)))


def _must_be_there(what: str, there: object) -> None:
    """The product has changed, and a break that breaks nothing proves nothing."""
    if not there:
        raise RuntimeError(f"the campaign no longer knows how to break {what!r}")
