"""An export whose job can't be done has failed, or was cancelled; a replay makes it after all."""

from collections.abc import Sequence

from sqlalchemy import Connection

from app.exports.lifecycle import end, reopen
from app.jobs import ExportTable
from app.ledger.aftermath import Ending
from app.ledger.contract import JobContract
from app.ledger.state import State


def table_ended(tx: Connection, job: ExportTable, ending: Ending) -> Sequence[JobContract]:
    """There will be no file. What the store has of it is cleared away in time."""
    status = "cancelled" if ending.state is State.CANCELLED else "failed"
    end(tx, job.export_id, status=status, error=ending.error)
    return ()


def table_revived(tx: Connection, job: ExportTable) -> Sequence[JobContract]:
    """It is open again."""
    reopen(tx, job.export_id)
    return ()
