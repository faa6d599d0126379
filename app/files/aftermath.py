"""A file whose job can't be done has failed, and says why; a replay tries again."""

from collections.abc import Sequence

from sqlalchemy import Connection

from app.files import store
from app.jobs import FileExtractText, FileMakeVariants, FileScan
from app.ledger.aftermath import Ending
from app.ledger.contract import JobContract

FileJob = FileScan | FileMakeVariants | FileExtractText


def ended(tx: Connection, job: FileJob, ending: Ending) -> Sequence[JobContract]:
    """What was to be made of it won't be."""
    error = {"code": ending.error["code"], "message": ending.error["message"]}
    store.fail(tx, job.file_id, error)
    return ()


def revived(tx: Connection, job: FileJob) -> Sequence[JobContract]:
    """What failed is waiting again."""
    store.reopen(tx, job.file_id, scanning=isinstance(job, FileScan))
    return ()
