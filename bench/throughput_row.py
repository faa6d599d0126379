"""The one row that a job of the throughput benchmark writes; both sides run this statement."""

from sqlalchemy import text

CREATE = text("""
    CREATE TABLE IF NOT EXISTS bench_rows (
        id uuid PRIMARY KEY, name text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
""")
INSERT = text("""
    INSERT INTO bench_rows (id, name) VALUES (:id, :name) ON CONFLICT (id) DO NOTHING
""")
