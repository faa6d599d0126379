"""The states of a job and the one table of how it may move between them.

waiting --release--> scheduled                   (the last that it waited for has ended)
scheduled --dispatch--> queued --claim--> running --succeed--> succeeded
    ^                                        |------retry----> scheduled
    |                                        |------snooze---> scheduled
    |                                        |------die------> dead
    |<------------------replay-------------- dead
waiting | scheduled | queued --expire--> dead    (its deadline passed before an attempt began)
waiting --give_up--> dead                        (one that it waited for has failed)
dead --revive--> waiting                         (that one is replayed)
queued | running --bury--> dead                  (the broker gave its message up)
queued | running --rescue--> scheduled           (its message is lost, or its worker and lease are)
waiting | scheduled | queued | running --cancel--> cancelled
running --take_over--> running                   (its worker is gone: the next attempt begins)
scheduled --hasten--> scheduled, dead --discard--> dead     (a person's doing; the state stays)
scheduled --debounce--> scheduled                (a newer post: its payload, and its time)

A job begins as scheduled (`enqueue`), or as waiting (`wait`). `release` and `revive` are the database's own
doing, in the commit that ends or replays what is waited for: see the functions `flow_*` in the migrations.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    CANCELLED = "cancelled"


FINISHED = frozenset({State.SUCCEEDED, State.DEAD, State.CANCELLED})
OPEN = frozenset(State) - FINISHED


class Event(StrEnum):
    """What moves a job. The history stores these names."""

    ENQUEUE = "enqueue"
    WAIT = "wait"
    RELEASE = "release"
    DISPATCH = "dispatch"
    CLAIM = "claim"
    TAKE_OVER = "take_over"
    SUCCEED = "succeed"
    RETRY = "retry"
    SNOOZE = "snooze"
    DIE = "die"
    EXPIRE = "expire"
    GIVE_UP = "give_up"
    BURY = "bury"
    RESCUE = "rescue"
    CANCEL = "cancel"
    HASTEN = "hasten"
    DEBOUNCE = "debounce"
    REPLAY = "replay"
    REVIVE = "revive"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True)
class Move:
    """From any of `sources` to `target`."""

    sources: frozenset[State]
    target: State


def _move(*sources: State, to: State) -> Move:
    return Move(frozenset(sources), to)


TRANSITIONS: Mapping[Event, Move] = MappingProxyType(
    {
        Event.ENQUEUE: _move(to=State.SCHEDULED),
        Event.WAIT: _move(to=State.WAITING),
        Event.RELEASE: _move(State.WAITING, to=State.SCHEDULED),
        Event.DISPATCH: _move(State.SCHEDULED, to=State.QUEUED),
        Event.CLAIM: _move(State.QUEUED, to=State.RUNNING),
        Event.TAKE_OVER: _move(State.RUNNING, to=State.RUNNING),
        Event.SUCCEED: _move(State.RUNNING, to=State.SUCCEEDED),
        Event.RETRY: _move(State.RUNNING, to=State.SCHEDULED),
        Event.SNOOZE: _move(State.RUNNING, to=State.SCHEDULED),
        Event.DIE: _move(State.RUNNING, to=State.DEAD),
        Event.EXPIRE: _move(State.WAITING, State.SCHEDULED, State.QUEUED, to=State.DEAD),
        Event.GIVE_UP: _move(State.WAITING, to=State.DEAD),
        Event.BURY: _move(State.QUEUED, State.RUNNING, to=State.DEAD),
        Event.RESCUE: _move(State.QUEUED, State.RUNNING, to=State.SCHEDULED),
        Event.CANCEL: _move(*OPEN, to=State.CANCELLED),
        Event.HASTEN: _move(State.SCHEDULED, to=State.SCHEDULED),
        Event.DEBOUNCE: _move(State.SCHEDULED, to=State.SCHEDULED),
        Event.REPLAY: _move(State.DEAD, to=State.SCHEDULED),
        Event.REVIVE: _move(State.DEAD, to=State.WAITING),
        Event.DISCARD: _move(State.DEAD, to=State.DEAD),
    }
)
