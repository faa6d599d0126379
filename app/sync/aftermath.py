"""What becomes of a run, and of its connection, when one of its jobs ends without success."""

from collections.abc import Sequence

from sqlalchemy import Connection

from app.jobs import SyncPull, SyncPush
from app.ledger.aftermath import Ending
from app.ledger.contract import JobContract
from app.ledger.state import State
from app.sync import connections, runs

UNAUTHORIZED = "sync_unauthorized"


def ended(tx: Connection, job: SyncPull | SyncPush, ending: Ending) -> Sequence[JobContract]:
    """The run failed. A token that is no longer good pauses the connection: asking again and again with it
    would only have the account locked.
    """
    state = "failed" if ending.state is State.DEAD else "cancelled"
    connection_id = runs.fail(tx, job.run_id, state=state, error=ending.error)
    if connection_id is not None and ending.error["code"] == UNAUTHORIZED:
        connections.pause(tx, connection_id, code=UNAUTHORIZED, message=ending.error["message"])
    return ()


def revived(tx: Connection, job: SyncPull | SyncPush) -> Sequence[JobContract]:
    """It goes on from where it stood."""
    runs.revive(tx, job.run_id)
    return ()
