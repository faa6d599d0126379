"""Sends plain tasks that failed once more, as they were, and closes their dead letters."""

from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection

from app.broker.tasks import PREFIX, TaskAgain, TaskSender
from app.broker.topology import Queue
from app.ledger.replay import DeadFilter
from app.ledger.strays import Stray, close_strays, open_strays

BATCH = 100


@dataclass(frozen=True, slots=True)
class Sent:
    """How many were, or in a dry run would be, sent; how many can't be, or the broker refused. `more` says
    that others may fit, behind `last`.
    """

    sent: int
    left: int
    last: UUID | None
    more: bool


def replay_strays(
    tx: Connection,
    sender: TaskSender,
    chosen: DeadFilter,
    *,
    reason: str,
    dry_run: bool = False,
    after: UUID | None = None,
    limit: int = BATCH,
) -> Sent:
    """The next `limit` that fit. The broker has confirmed a message before its letter is closed: if the
    commit of `tx` fails, it may be sent again. Raises BrokerAway, and has closed nothing then.
    """
    strays = open_strays(tx, chosen, after=after, limit=limit, lock=not dry_run)
    found = [(stray.id, again) for stray in strays if (again := _again(stray))]
    taken = [True for _ in found] if dry_run else sender.send_all([again for _, again in found])
    ids = [stray_id for (stray_id, _), was_taken in zip(found, taken, strict=True) if was_taken]
    if ids and not dry_run:
        close_strays(tx, ids, reason=reason)
    last = strays[-1].id if strays else after
    return Sent(len(ids), len(strays) - len(ids), last, len(strays) == limit)


def _again(stray: Stray) -> TaskAgain | None:
    """The message; None where it is no plain task's, or not all of it was kept."""
    headers = stray.headers or {}
    named = stray.kind is not None and stray.kind.startswith(PREFIX)
    if not named or not stray.whole or stray.body is None or stray.queue not in set(Queue):
        return None
    if headers.get("eta"):
        headers = {**headers, "eta": None}  # its time has passed
    with suppress(ValueError):
        task_id = UUID(str(headers.get("id")))
        return TaskAgain(
            body=stray.body, headers=headers, queue=str(stray.queue), message_id=task_id
        )
    return None
