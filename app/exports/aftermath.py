"""An export whose jobs can't be done has failed, or was cancelled; a replay makes it after all."""

from collections.abc import Sequence

from sqlalchemy import Connection

from app.exports.lifecycle import begin_anew, end, reopen
from app.jobs import ExportFinish, ExportPart, ExportTable
from app.ledger.aftermath import Ending
from app.ledger.contract import JobContract
from app.ledger.state import State


def table_ended(tx: Connection, job: ExportTable, ending: Ending) -> Sequence[JobContract]:
    """There will be no file. What an attempt has open in the store is cleared away: if it lives, it does so
    itself, but nobody can know.
    """
    left = end(tx, job.export_id, status=_status(ending), error=ending.error)
    if left is None or left.upload_id is None:
        return ()
    return (
        ExportFinish(
            export_id=job.export_id,
            batch_id=None,
            upload_key=left.upload_key,
            upload_id=left.upload_id,
        ),
    )


def table_revived(tx: Connection, job: ExportTable) -> Sequence[JobContract]:
    """It is open again."""
    reopen(tx, job.export_id)
    return ()


def part_ended(tx: Connection, job: ExportPart, ending: Ending) -> Sequence[JobContract]:
    """Without one of its parts there is no file. The other parts find that out; what follows when all have
    ended clears away what there is.
    """
    end(tx, job.export_id, status=_status(ending), error=ending.error)
    return ()


def part_revived(tx: Connection, job: ExportPart) -> Sequence[JobContract]:
    """Its upload is gone by now, so the export begins anew, with other parts; this one finds that out."""
    begin_anew(tx, job.export_id, job.batch_id, of=("failed", "cancelled"), whole=False)
    return ()


def finish_ended(tx: Connection, job: ExportFinish, ending: Ending) -> Sequence[JobContract]:
    """The parts are there, but couldn't be put together; or couldn't be cleared away, which the dispatcher
    then does in time.
    """
    if job.batch_id is not None:
        end(tx, job.export_id, status=_status(ending), error=ending.error)
    return ()


def finish_revived(tx: Connection, job: ExportFinish) -> Sequence[JobContract]:
    """It is open again, if it is still made by these parts."""
    if job.batch_id is not None:
        reopen(tx, job.export_id, batch_id=job.batch_id)
    return ()


def _status(ending: Ending) -> str:
    return "cancelled" if ending.state is State.CANCELLED else "failed"
