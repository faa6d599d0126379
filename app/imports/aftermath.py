"""An import whose plan or chunk can't be done has failed, or was cancelled; a replay goes on with it."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection

from app.imports import chunks, lifecycle, parts, undoing
from app.jobs import ImportApplyAll, ImportChunk, ImportPlan, ImportUndoChunk
from app.ledger.aftermath import Ending
from app.ledger.contract import JobContract
from app.ledger.state import State

NOTHING = "Nothing was imported."
STAYS = "What was imported before that stays; undo the import to take it back."


def plan_ended(tx: Connection, job: ImportPlan, ending: Ending) -> Sequence[JobContract]:
    """Without a plan there is no import. One that another job has planned needs no other plan."""
    standing = chunks.standing(tx, job.import_id)
    if standing.planned:
        return ()
    why = ending.error["message"]
    if ending.state is not State.CANCELLED:
        why = f"{why} {STAYS if standing.wrote else NOTHING}"
    return _end(tx, job.import_id, ending, why)


def chunk_ended(tx: Connection, job: ImportChunk, ending: Ending) -> Sequence[JobContract]:
    """One chunk is missing, so the import has ended; what is committed stays. A chunk that another job
    has done is not missing.
    """
    if chunks.load_chunk(tx, job.import_id, job.index) is None:
        return ()
    why = ending.error["message"]
    if ending.state is not State.CANCELLED:
        why = f"Part {job.index + 1} of the file could not be imported: {why}"
    return _end(tx, job.import_id, ending, why)


def all_ended(tx: Connection, job: ImportApplyAll, ending: Ending) -> Sequence[JobContract]:
    """Nothing was written."""
    why = ending.error["message"]
    if ending.state is not State.CANCELLED:
        why = f"Nothing was imported: {why}"
    return _end(tx, job.import_id, ending, why)


def undo_ended(tx: Connection, job: ImportUndoChunk, ending: Ending) -> Sequence[JobContract]:
    """One chunk is not undone, so the undo has failed; what is undone stays so. Asked for again, it goes
    on with the others.
    """
    if undoing.load_work(tx, job.import_id, job.index) is None:
        return ()
    why = f"Part {job.index + 1} could not be undone: {ending.error['message']}"
    error = {"code": ending.error["code"], "message": why}
    undoing.end_undo(tx, job.import_id, status="failed", error=error)
    return ()


def plan_revived(tx: Connection, job: ImportPlan) -> Sequence[JobContract]:
    """The import is open again, and will be planned from where its plan stopped."""
    if lifecycle.reopen(tx, job.import_id):
        chunks.hand_out_missing(tx, job.import_id)
    return ()


def chunk_revived(tx: Connection, job: ImportChunk) -> Sequence[JobContract]:
    """The import is open again, and so are the chunks that gave up because it had ended, and its plan.
    One of them may be about to run all the same: of two jobs of a chunk, the second finds it done.
    """
    if not lifecycle.reopen(tx, job.import_id):
        return ()
    chunks.hand_out_missing(tx, job.import_id, but=job.index)
    standing = chunks.standing(tx, job.import_id)
    if not standing.planned:
        return [ImportPlan(import_id=job.import_id)]
    if standing.all_done:
        return lifecycle.end(tx, job.import_id, status="succeeded")
    return ()


def all_revived(tx: Connection, job: ImportApplyAll) -> Sequence[JobContract]:
    """The import is open again."""
    lifecycle.reopen(tx, job.import_id)
    return ()


def undo_revived(tx: Connection, job: ImportUndoChunk) -> Sequence[JobContract]:
    """The undo goes on, with all that was left."""
    undoing.resume_undo(tx, job.import_id, but=job.index)
    return ()


def _end(tx: Connection, import_id: UUID, ending: Ending, why: str) -> list[JobContract]:
    cancelled = ending.state is State.CANCELLED
    error = {"code": ending.error["code"], "message": why}
    jobs = lifecycle.end(tx, import_id, status="cancelled" if cancelled else "failed", error=error)
    if jobs and cancelled:
        parts.take_back(tx, import_id, reason=ending.error["message"])
    elif jobs:
        parts.all_handed_out(tx, import_id)
    return jobs
