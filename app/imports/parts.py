"""The jobs of an import's chunks, and of its undo's: one batch each, with a window.

An import that has failed leaves its batch as it is: what is still to come finds that out and gives up, and
is handed out again when the import is taken up. One that was cancelled cancels its batch.
"""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from sqlalchemy import Connection, text

from app.errors import Conflict
from app.ledger.batches import Batch, add_to_batch, close_batch, open_batch
from app.ledger.contract import JobContract
from app.ledger.spreading import cancel_batch
from app.ledger.store import Claimed

Purpose = Literal["import", "undo"]

_BATCH = {
    "import": text("SELECT tenant_id, batch_id FROM imports WHERE id = :id"),
    "undo": text("SELECT tenant_id, undo_batch_id AS batch_id FROM imports WHERE id = :id"),
}
_KEEP = {
    "import": text("UPDATE imports SET batch_id = :batch_id WHERE id = :id"),
    "undo": text("UPDATE imports SET undo_batch_id = :batch_id WHERE id = :id"),
}
_WINDOW = text('SELECT "window" FROM batches WHERE id = :id')
# A job that waits for its place will look at the import when it begins, and not before: it is held where
# it is until this transaction ends. Whatever is further may have looked already.
_WILL_LOOK = text("""
    SELECT (j.payload ->> 'index')::int AS index FROM waiting w JOIN jobs j ON j.id = w.job_id
    WHERE w.batch_id = :batch_id AND j.state = 'waiting' ORDER BY j.id FOR NO KEY UPDATE OF j
""")


def hand_out(
    tx: Connection,
    import_id: UUID,
    jobs: Sequence[JobContract],
    *,
    purpose: Purpose = "import",
    window: int | None = None,
    more: bool = False,
    by: Claimed | None = None,
) -> None:
    """Give the chunks' jobs to the workers, at most `window` at once (None: as many as before). `more`
    says that others are to come. The caller has the import's row locked.
    """
    facts = tx.execute(_BATCH[purpose], {"id": import_id}).one()
    origin = None if by is None else by.id
    if facts.batch_id is not None:
        window = window or tx.execute(_WINDOW, {"id": facts.batch_id}).scalar_one_or_none()
        try:
            add_to_batch(tx, facts.batch_id, jobs, parent_id=origin)
        except Conflict:
            pass  # it has ended: open another one
        else:
            return
    batch = Batch(jobs=jobs, name=f"{purpose} {import_id}", window=window)
    trace = None if by is None else by.traceparent
    open_batch(tx, facts.tenant_id, batch, parent_id=origin, traceparent=trace)
    tx.execute(_KEEP[purpose], {"id": import_id, "batch_id": batch.id})
    if not more:
        close_batch(tx, batch.id)


def still_to_come(tx: Connection, import_id: UUID, *, purpose: Purpose = "import") -> set[int]:
    """The chunks whose job waits for its place: they need no other."""
    batch_id = tx.execute(_BATCH[purpose], {"id": import_id}).one().batch_id
    return set(tx.execute(_WILL_LOOK, {"batch_id": batch_id}).scalars())


def all_handed_out(tx: Connection, import_id: UUID) -> None:
    """No more chunks are to come: the batch ends with its last job."""
    batch_id = tx.execute(_BATCH["import"], {"id": import_id}).one().batch_id
    if batch_id is not None:
        close_batch(tx, batch_id)


def take_back(tx: Connection, import_id: UUID, *, reason: str) -> None:
    """The import is cancelled: so is what is left of its chunks' jobs."""
    batch_id = tx.execute(_BATCH["import"], {"id": import_id}).one().batch_id
    try:
        if batch_id is not None:
            cancel_batch(tx, None, batch_id, reason=reason)
    except Conflict:
        pass  # they have all ended
