"""Which sides `bench.peers` has, and what each keeps, by its own documentation and as it is set up here."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from sqlalchemy import Engine

from bench import peers_sides as sides
from bench.throughput import Ours, Side, Stock
from infra.local.system import LocalSystem

MANY = 8
"""Jobs at a time in a process, where a peer can do that."""


class Make(Protocol):
    def __call__(self, system: LocalSystem, engine: Engine) -> Side: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Promises:
    """A few words each; `PROMISES` has the questions."""

    effect: str
    enqueue: str
    flushed: str
    killed: str
    lost: str
    history: str
    retries: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    title: str
    one: Make
    """One job at a time in each process."""
    many: Make | None = None
    """`MANY` at a time."""
    promises: Promises
    recorded: bool = False
    """Whether a job, its state and its retries are rows in a database that flushes each commit."""


PROMISES: Mapping[str, str] = {
    "effect": "effect on the database",
    "enqueue": "put in with the caller's commit",
    "flushed": "on disk when accepted",
    "killed": "the job of a killed worker",
    "lost": "the broker and its disk are lost",
    "history": "history",
    "retries": "a retry is",
}
_BY_OPTION = "none; results by an option"
_OURS = Promises(
    effect="exactly once",
    enqueue="yes",
    flushed="yes",
    killed="comes back when its connection or its lease is gone",
    lost="nothing: what waited is sent again",
    history="every change of state",
    retries="a row with its time",
)
_CELERY = Promises(
    effect="at least once",
    enqueue="no",
    flushed="yes",
    killed="comes back with a whole worker; with a single child by an option only",
    lost="what waited is gone",
    history=_BY_OPTION,
    retries="a message in the broker",
)
_DRAMATIQ = replace(
    _CELERY,
    killed="comes back when its connection is gone",
    retries="a message that a worker holds until its time",
)
_TASKIQ = replace(_DRAMATIQ, retries="a message in the broker, by a middleware")
_PROCRASTINATE = replace(
    _OURS,
    effect="at least once",
    killed="comes back if you schedule a task that looks for it",
    lost="there is none but the database",
)
_BULLMQ = replace(
    _PROCRASTINATE,
    enqueue="no",
    killed="comes back after half a minute or a whole one; the second time it has failed",
    history="times and last state; the latest events",
)
_DURABLE_REDIS = replace(
    _BULLMQ, lost="what waited is gone, and its history", retries="an entry with its time"
)
_REDIS = replace(_DURABLE_REDIS, flushed="within a second")


def _peer(
    title: str, kind: type[sides.Peer], promises: Promises, *, recorded: bool = False
) -> Entry:
    many = partial(kind, slots=MANY)
    return Entry(title=title, one=kind, many=many, promises=promises, recorded=recorded)


OURS, EACH = "ours", "ours_message_each"
SIDES: Mapping[str, Entry] = {
    OURS: Entry(title="Millrace, sixteen together", one=sides.OursTogether, promises=_OURS),
    "ours_many": Entry(title="Millrace, sixty-four together", one=sides.OursMany, promises=_OURS),
    "ours_taken": Entry(
        title="Millrace, a message each, 16 taken", one=sides.OursTaken, promises=_OURS
    ),
    EACH: Entry(title="Millrace, a message each", one=Ours, promises=_OURS),
    "ours_claimed_first": Entry(
        title="Millrace, claimed first", one=sides.OursClaimed, promises=_OURS
    ),
    "celery": Entry(
        title="Celery", one=Stock, many=partial(sides.CeleryThreads, slots=MANY), promises=_CELERY
    ),
    "dramatiq": _peer("Dramatiq", sides.Dramatiq, _DRAMATIQ),
    "taskiq": _peer("Taskiq", sides.Taskiq, _TASKIQ),
    "procrastinate": _peer("Procrastinate", sides.Procrastinate, _PROCRASTINATE, recorded=True),
    "bullmq_postgres": _peer("BullMQ on PostgreSQL", sides.BullMQ, _BULLMQ, recorded=True),
    "bullmq_always": _peer(
        "BullMQ on Redis, fsync always", sides.BullMQOnDurableRedis, _DURABLE_REDIS
    ),
    "bullmq_everysec": _peer("BullMQ on Redis, fsync each second", sides.BullMQOnRedis, _REDIS),
}
