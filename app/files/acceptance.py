"""A file that came is recorded with all that is to be done about it, in one transaction."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection

from app.files import store
from app.files.options import VariantSpec
from app.files.store import NewFile, StoredFile
from app.jobs import FileExtractText, FileMakeVariants, FileScan
from app.ledger.contract import JobContract
from app.ledger.enqueue import NewJob, enqueue_many


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A file, complete in the store and of a type that is taken; `scan`: there is a virus scanner."""

    id: UUID
    filename: str
    object_key: str
    size: int
    sha256: str
    type: str
    variants: list[VariantSpec]
    extract_text: bool
    searchable: bool
    scan: bool


def accept_file(tx: Connection, tenant_id: UUID, file: Arrived) -> None:
    """It and its jobs are there once `tx` commits."""
    work = _work(file.id, variants=bool(file.variants), text=file.extract_text)
    jobs: list[JobContract] = [FileScan(file_id=file.id)] if file.scan else work
    added = enqueue_many(tx, tenant_id, [NewJob(job=job) for job in jobs]) if jobs else []
    new = NewFile(
        id=file.id,
        tenant_id=tenant_id,
        job_id=added[0].id if added else None,
        state="scanning" if file.scan else "uploaded",
        filename=file.filename,
        object_key=file.object_key,
        size=file.size,
        sha256=file.sha256,
        type=file.type,
        text_state="waiting" if file.extract_text else None,
        searchable=file.searchable,
    )
    store.add(tx, new, file.variants)


def work_left(file: StoredFile) -> list[JobContract]:
    """What a file that was found clean is for."""
    return _work(file.id, variants=bool(file.waiting), text=file.text_state == "waiting")


def _work(file_id: UUID, *, variants: bool, text: bool) -> list[JobContract]:
    jobs: list[JobContract] = []
    if variants:
        jobs.append(FileMakeVariants(file_id=file_id))
    if text:
        jobs.append(FileExtractText(file_id=file_id))
    return jobs
