"""What an operator is called for: dead letters that nobody has dealt with, and how the database itself does.

Every statement is bounded, and ends after `depth.STATEMENT_SECONDS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, text

from app.ledger.depth import COUNTED, limit_statements

# What belongs to an incident that is resolved or ignored waits for nobody.
_DEAD = text("""
    SELECT i.kind, count(*) AS letters
    FROM (SELECT incident_id FROM dead_letters WHERE state = 'open' LIMIT :counted) d
    JOIN incidents i ON i.id = d.incident_id
    WHERE i.state = 'open'
    GROUP BY i.kind
""")
# Of other roles than our own an ordinary role sees the connections, and not for how long they have been at it.
_SERVER = text("""
    SELECT (SELECT coalesce(sum(numbackends), 0) FROM pg_stat_database)::int AS connections,
           current_setting('max_connections')::int
               - current_setting('superuser_reserved_connections')::int AS most,
           (SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)
            FROM pg_stat_activity
            WHERE datname = current_database() AND backend_type = 'client backend'
              AND pid <> pg_backend_pid())::float AS oldest_seconds
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Open dead letters by kind (None: of messages that named none); connections to the whole server, and how
    many it takes of ordinary roles; the age of the oldest transaction in our database, in seconds.
    """

    dead: Mapping[str | None, int]
    connections: int
    max_connections: int
    oldest_transaction_seconds: float


def read_standing(tx: Connection) -> Standing:
    """Raises OperationalError when the database takes too long."""
    limit_statements(tx)
    dead = {row.kind: row.letters for row in tx.execute(_DEAD, {"counted": COUNTED})}
    server = tx.execute(_SERVER).one()
    return Standing(
        dead=dead,
        connections=server.connections,
        max_connections=server.most,
        oldest_transaction_seconds=max(0.0, server.oldest_seconds),
    )
