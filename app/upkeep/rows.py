"""The step of a table whose rows simply go when they are old."""

from datetime import datetime

from sqlalchemy import Connection, text

from app.ledger.prune import Pruned
from app.upkeep.kept import Step

_LONG_AGO = "-infinity"


def rows(
    table: str,
    *,
    at: str,
    where: str = "true",
    tenant: str | None = "tenant_id",
    what: str | None = None,
) -> Step:
    """Delete the rows of `table` whose time `at` is past and that fit `where`, the oldest first.

    `at` wants an index. `tenant` is the column of the tenant, whose own retention counts then; None where
    there is none. `what` is the name under which retention is chosen, if not the table's.
    """
    own = ":days"
    if tenant:
        own = f"""coalesce((SELECT r.days FROM retention r
                           WHERE r.tenant_id = t.{tenant} AND r.what = :what), :days)"""  # noqa: S608 - as below
    # The shortest term bounds the scan, so that it ends where nobody's rows are old enough.
    statement = text(f"""
        DELETE FROM {table} WHERE ctid = ANY(ARRAY(
            SELECT t.ctid FROM {table} t
            WHERE t.{at} >= CAST(:after AS timestamptz)
              AND t.{at} < clock_timestamp() - make_interval(days => (
                  SELECT least(CAST(:days AS int), min(r.days)) FROM retention r
                  WHERE r.what = :what))
              AND t.{at} < clock_timestamp() - make_interval(days => {own})
              AND ({where})
            ORDER BY t.{at} LIMIT :batch FOR UPDATE OF t SKIP LOCKED))
        RETURNING {at}
    """)  # noqa: S608 - the words are the program's own

    def step(tx: Connection, after: str | None, *, days: int, batch: int) -> Pruned:
        values = {"after": after or _LONG_AGO, "days": days, "batch": batch, "what": what or table}
        gone: list[datetime] = list(tx.execute(statement, values).scalars())
        return Pruned(len(gone), max(gone).isoformat() if len(gone) == batch else None)

    return step
