"""The overview's figures, each under the name by which its place on the page is found: the page begins with
them, and the stream sends the newest. Nothing of what customers sent is in here: all roles see the same.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from app.api.queues import QueueView, queue_views
from app.console.words import NONE, ago, figure, span
from app.db import database_time
from app.ledger.blast import COUNTED, open_numbers
from app.ledger.processes import ProcessSeen, seen

SILENT = timedelta(seconds=30)
"""What hasn't been seen for longer needs a look."""
LATE_SECONDS = 60
CHORES = ("collector", "timekeeper", "scheduler", "gauge", "janitor")
_SELDOM = {"janitor": timedelta(minutes=25)}


@dataclass(frozen=True, slots=True)
class Figure:
    """What is written in its place, and whether it needs a look: `fine`, `look`, `bad`."""

    text: str
    mood: str = "fine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """`shape` changes when places come or go, and the page has to be loaded again."""

    queues: list[QueueView]
    pools: list[ProcessSeen]
    dispatchers: list[ProcessSeen]
    figures: dict[str, Figure]

    @property
    def shape(self) -> str:
        """The names of all places."""
        return " ".join(sorted(self.figures))

    def as_json(self) -> str:
        """For the stream."""
        figures = {name: [each.text, each.mood] for name, each in self.figures.items()}
        return json.dumps({"shape": self.shape, "figures": figures})


def overview(tx: Connection) -> Overview:
    """As of now."""
    now = database_time(tx)
    queues = queue_views(tx, None)
    processes = seen(tx)
    pools = [one for one in processes if one.role == "worker"]
    dispatchers = [one for one in processes if one.role == "dispatcher"]
    incidents, letters = open_numbers(tx)
    more = "+" if letters >= COUNTED else ""
    figures = {
        "incidents": Figure(figure(incidents), "look" if incidents else "fine"),
        "letters": Figure(figure(letters) + more, "look" if letters else "fine"),
    }
    for queue in queues:
        figures.update({f"queue.{queue.name}.{name}": one for name, one in _queue(queue)})
    for pool in pools:
        figures.update({f"pool.{pool.name}.{name}": one for name, one in _pool(pool, now)})
    for one in dispatchers:
        figures.update({f"dispatcher.{one.name}.{name}": f for name, f in _dispatcher(one, now)})
    return Overview(queues=queues, pools=pools, dispatchers=dispatchers, figures=figures)


def _queue(queue: QueueView) -> Iterator[tuple[str, Figure]]:
    ended, arrived = queue.ended_per_minute, queue.arrived_per_minute
    late = queue.lag_seconds > LATE_SECONDS and not queue.paused_at
    yield (
        "state",
        Figure("paused" if queue.paused_at else "open", "look" if queue.paused_at else "fine"),
    )
    yield "ready", Figure(figure(queue.depth))
    yield "later", Figure(figure(queue.later))
    yield "flying", Figure(figure(queue.in_flight))
    yield (
        "oldest",
        Figure(span(queue.lag_seconds) if queue.lag_seconds else NONE, "look" if late else "fine"),
    )
    yield "arrived", Figure(figure(arrived))
    yield "ended", Figure(figure(ended))
    yield "drain", _drain(queue)
    yield "dead", Figure(figure(queue.dead), "look" if queue.dead else "fine")


def _drain(queue: QueueView) -> Figure:
    """How long what waits takes, if all goes on as in the last minute."""
    net = queue.ended_per_minute - queue.arrived_per_minute
    if not queue.depth:
        return Figure("empty")
    if net <= 0:
        return Figure("grows" if queue.arrived_per_minute else "stands", "look")
    return Figure(span(60 * queue.depth / net))


def _pool(pool: ProcessSeen, now: datetime) -> Iterator[tuple[str, Figure]]:
    yield "slots", Figure(figure(pool.slots))
    yield "busy", Figure(figure(pool.busy), "look" if pool.busy >= pool.slots else "fine")
    yield "seen", _seen(pool.seen_at, now, SILENT)


def _dispatcher(one: ProcessSeen, now: datetime) -> Iterator[tuple[str, Figure]]:
    yield "seen", _seen(one.seen_at, now, SILENT)
    for chore in CHORES:
        at = one.chores.get(chore)
        yield chore, _seen(at, now, _SELDOM.get(chore, SILENT))


def _seen(at: datetime | None, now: datetime, allowed: timedelta) -> Figure:
    if at is None:
        return Figure("not yet", "look")
    return Figure(ago(at, now), "bad" if now - at > allowed else "fine")
