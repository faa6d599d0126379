"""Forget imports: what it takes to undo them first, and in the end all of them, with their files."""

from sqlalchemy import Connection, text

from app.imports.files import prefix
from app.ledger.prune import Pruned

_OWN_DAYS = """coalesce((SELECT r.days FROM retention r
                         WHERE r.tenant_id = i.tenant_id AND r.what = :what), :days)"""
# Before-images are most of what an import leaves behind; without them it can't be undone any more.
_UNDO_DATA = text(f"""
    UPDATE import_chunks SET before = NULL, inserted_ids = NULL
    WHERE (import_id, index) IN (
        SELECT c.import_id, c.index
        FROM imports i JOIN import_chunks c ON c.import_id = i.id
        WHERE i.finished_at < clock_timestamp() - make_interval(days => {_OWN_DAYS})
          AND i.undo_status IS DISTINCT FROM 'running'
          AND (c.before IS NOT NULL OR c.inserted_ids IS NOT NULL)
        LIMIT :batch FOR UPDATE OF c SKIP LOCKED)
""")  # noqa: S608 - constants
# An import stays for as long as a retry has not fetched its rejected rows, and while one of its jobs may
# be replayed.
_OLD = text(f"""
    SELECT i.id, i.tenant_id FROM imports i
    WHERE i.id > CAST(:after AS uuid)
      AND i.finished_at < clock_timestamp() - make_interval(days => {_OWN_DAYS})
      AND coalesce(i.undo_finished_at, i.finished_at)
          < clock_timestamp() - make_interval(days => {_OWN_DAYS})
      AND i.status IN ('succeeded', 'failed', 'cancelled')
      AND i.undo_status IS DISTINCT FROM 'running'
      AND NOT EXISTS (SELECT FROM imports later
                      WHERE later.retry_of = i.id AND later.source = 'retry'
                        AND later.status IN ('queued', 'running', 'failed'))
      AND NOT EXISTS (SELECT FROM dead_letters d JOIN jobs j ON j.id = d.job_id
                      WHERE d.tenant_id = i.tenant_id AND d.state = 'open'
                        AND j.payload ->> 'import_id' = CAST(i.id AS text))
    ORDER BY i.id LIMIT :batch FOR UPDATE OF i SKIP LOCKED
""")  # noqa: S608 - constants
_CHUNKS = text("""
    DELETE FROM import_chunks WHERE (import_id, index) IN (
        SELECT import_id, index FROM import_chunks WHERE import_id = ANY(:ids) LIMIT :batch)
""")
_IMPORTS = text("""
    DELETE FROM imports i
    WHERE i.id = ANY(:ids) AND NOT EXISTS (SELECT FROM import_chunks c WHERE c.import_id = i.id)
    RETURNING i.id, i.tenant_id
""")
_FIRST = "00000000-0000-0000-0000-000000000000"

MAX_CHUNKS = 50
"""Of undo data in a batch; each may hold as many before-images as it has rows."""
MAX_IMPORTS = 50


def prune_undo_data(tx: Connection, after: str | None, *, days: int, batch: int) -> Pruned:  # noqa: ARG001
    """Forget what it takes to undo imports that ended so long ago."""
    size = min(batch, MAX_CHUNKS)
    values = {"days": days, "batch": size, "what": "import_undo_data"}
    removed = tx.execute(_UNDO_DATA, values).rowcount
    return Pruned(removed, "again" if removed == size else None)


def prune_imports(tx: Connection, after: str | None, *, days: int, batch: int) -> Pruned:
    """Forget imports that ended so long ago, with their chunks; the rows that they wrote stay. A long
    import loses its chunks over several batches, and is gone after the last.

    Its objects may be deleted after the commit: what a crash leaves of them is an orphan's, and the
    dispatcher's to find.
    """
    most = min(batch, MAX_IMPORTS)
    values = {"after": after or _FIRST, "days": days, "batch": most, "what": "imports"}
    ids = [row.id for row in tx.execute(_OLD, values)]
    if not ids:
        return Pruned(0, None)
    chunks = tx.execute(_CHUNKS, {"ids": ids, "batch": batch}).rowcount
    gone = tx.execute(_IMPORTS, {"ids": ids}).all()
    left = len(ids) == most or chunks == batch
    # What stays sorts after `after`, and is looked at again.
    return Pruned(
        len(gone),
        (after or _FIRST) if left else None,
        prefixes=[prefix(row.tenant_id, row.id) for row in gone],
    )
