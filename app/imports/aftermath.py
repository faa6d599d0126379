"""An import whose plan or chunk can't be done has failed, or was cancelled; a replay goes on with it."""

from collections.abc import Sequence

from sqlalchemy import Connection

from app.imports import lifecycle
from app.jobs import ImportChunk, ImportPlan
from app.ledger.aftermath import Ending
from app.ledger.contract import JobContract
from app.ledger.state import State


def plan_ended(tx: Connection, job: ImportPlan, ending: Ending) -> Sequence[JobContract]:
    """Without a plan there is no import."""
    return lifecycle.end(
        tx,
        job.import_id,
        status=_status(ending),
        error={"code": ending.error["code"], "message": ending.error["message"]},
    )


def chunk_ended(tx: Connection, job: ImportChunk, ending: Ending) -> Sequence[JobContract]:
    """One chunk is missing, so the import has ended; what is committed stays. A chunk that another job
    has done is not missing.
    """
    if lifecycle.load_chunk(tx, job.import_id, job.index) is None:
        return ()
    why = ending.error["message"]
    if ending.state is not State.CANCELLED:
        why = f"Part {job.index + 1} of the file could not be imported: {why}"
    return lifecycle.end(
        tx,
        job.import_id,
        status=_status(ending),
        error={"code": ending.error["code"], "message": why},
    )


def plan_revived(tx: Connection, job: ImportPlan) -> Sequence[JobContract]:
    """The import is open again, and will be planned."""
    lifecycle.reopen(tx, job.import_id)
    return ()


def chunk_revived(tx: Connection, job: ImportChunk) -> Sequence[JobContract]:
    """The import is open again, and so are the chunks that gave up because it had ended. One of them may
    be about to run all the same: of two jobs of a chunk, the second finds it done.
    """
    if not lifecycle.reopen(tx, job.import_id):
        return ()
    missing = lifecycle.undone_chunks(tx, job.import_id)
    if not missing:
        return lifecycle.end(tx, job.import_id, status="succeeded")
    return [
        ImportChunk(import_id=job.import_id, index=index) for index in missing if index != job.index
    ]


def _status(ending: Ending) -> str:
    return "cancelled" if ending.state is State.CANCELLED else "failed"
