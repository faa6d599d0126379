"""What a person is told about a finished import."""

from uuid import UUID

from sqlalchemy import Connection, text

from app.mail import Mail
from app.settings import Settings

_IMPORT = text("""
    SELECT i.filename, i.status, i.total, i.inserted, i.updated, i.unchanged, i.rejected,
           i.dry_run, i.error ->> 'message' AS problem, t.email
    FROM imports i JOIN tenants t ON t.id = i.tenant_id
    WHERE i.id = :import_id AND i.tenant_id = :tenant_id
""")
_ENDED = {"succeeded": "is finished", "failed": "has failed", "cancelled": "was cancelled"}
_REOPENED = "goes on"
"""It had failed when the mail was enqueued, and what failed has been replayed since."""


def finished_mail(tx: Connection, tenant_id: UUID, import_id: UUID, settings: Settings) -> Mail:
    """The notification, addressed to the tenant."""
    row = tx.execute(_IMPORT, {"import_id": import_id, "tenant_id": tenant_id}).one()
    link = f"{settings.public_url.rstrip('/')}/v1/imports/{import_id}"
    filename = " ".join(row.filename.split())
    ended = _ENDED.get(row.status, _REOPENED)
    what = "dry run" if row.dry_run else "import"
    lines = [
        f"The {what} of {filename} {ended}.",
        *([f"The reason: {row.problem}"] if row.problem else []),
        "",
        f"  rows       {row.total:>12,}",
        f"  inserted   {row.inserted:>12,}",
        f"  updated    {row.updated:>12,}",
        f"  unchanged  {row.unchanged:>12,}",
        f"  rejected   {row.rejected:>12,}",
        "",
        f"Details: {link}",
        *([f"Rejected rows: {link}/rejected.csv"] if row.rejected else []),
        *([f"What would change: {link}/changes.csv"] if row.dry_run else []),
    ]
    return Mail(
        to=row.email,
        subject=f"{what.capitalize()} {ended}: {filename}"[:200],
        text="\n".join(lines) + "\n",
    )
