"""What a person is told about a finished import."""

from uuid import UUID

from sqlalchemy import Connection, text

from app.mailing.letters import ImportFinished

_IMPORT = text("""
    SELECT filename, status, total, inserted, updated, unchanged, rejected, dry_run,
           error ->> 'message' AS problem
    FROM imports WHERE id = :import_id AND tenant_id = :tenant_id
""")
_ENDED = {"succeeded": "is finished", "failed": "has failed", "cancelled": "was cancelled"}
_REOPENED = "goes on"
"""It had failed when the mail was enqueued, and what failed has been replayed since."""


def finished_letter(tx: Connection, tenant_id: UUID, import_id: UUID) -> ImportFinished:
    """As the import stands now."""
    row = tx.execute(_IMPORT, {"import_id": import_id, "tenant_id": tenant_id}).one()
    return ImportFinished(
        import_id=import_id,
        filename=row.filename,
        ended=_ENDED.get(row.status, _REOPENED),
        dry_run=row.dry_run,
        problem=row.problem,
        total=row.total,
        inserted=row.inserted,
        updated=row.updated,
        unchanged=row.unchanged,
        rejected=row.rejected,
    )
