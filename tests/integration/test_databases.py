"""A database that another test has used is as new; where it can't be made so, nobody gets it."""

from contextlib import closing

import psycopg
import pytest
from psycopg import sql

from app.db import make_engine
from app.settings import Settings
from tests.support.customers import make_customer
from tests.support.jobs import Note, add
from tests.support.servers import Servers

WHICH = "SELECT oid FROM pg_database WHERE datname = current_database()"
SEEDS = "SELECT * FROM tenants"
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
SEQUENCES = "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public'"
AUDITED = """
    INSERT INTO audit_log (id, actor, role, via, action, object, object_id, reason)
    VALUES (gen_random_uuid(), 'me', 'admin', 'cli', 'a', 'b', 'c', 'd')
"""
MANY = """
    INSERT INTO tenants (id, name, email)
    SELECT gen_random_uuid(), n, n || '@example.com' FROM generate_series(1, 2000) n
"""


def connect(servers: Servers, name: str) -> closing[psycopg.Connection]:
    url = servers.system.postgres.url(database=name)
    return closing(psycopg.connect(url, autocommit=True))


def contents(tx: psycopg.Connection) -> dict[str, int | None]:
    """How many rows there are in each table, and how far each sequence is."""
    counted: dict[str, int | None] = dict(tx.execute(SEQUENCES).fetchall())
    for (table,) in tx.execute(TABLES).fetchall():
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
        ((counted[table],),) = tx.execute(query).fetchall()
    return counted


def use(servers: Servers, name: str) -> None:
    """As tests do: a tenant, a job, its history."""
    settings = Settings.of(servers.environment(name))
    engine = make_engine(settings, pool_size=1, application_name="millrace-tests")
    add(engine, make_customer(engine).id, Note())
    engine.dispose()


def test_the_next_one_sees_nothing_of_what_was_in_it(servers: Servers) -> None:
    with servers.database() as first, connect(servers, first) as tx:
        which = tx.execute(WHICH).fetchone()
        new, seeds = contents(tx), tx.execute(SEEDS).fetchall()
        use(servers, first)
        tx.execute("UPDATE tenants SET name = name || ', spoilt'")
        tx.execute(AUDITED)
        used = contents(tx)
        changed = {name for name in new if new[name] != used[name]}
        assert changed >= {"tenants", "jobs", "job_history", "job_history_id_seq", "audit_log"}
    with servers.database() as second, connect(servers, second) as tx:
        assert tx.execute(WHICH).fetchone() == which, "another one: this test shows nothing"
        assert contents(tx) == new
        assert tx.execute(SEEDS).fetchall() == seeds


def test_who_is_late_finds_no_database(servers: Servers) -> None:
    with servers.database() as name:
        tx = psycopg.connect(servers.system.postgres.url(database=name))
        tx.execute("SELECT FROM jobs")
    with servers.database():
        with closing(tx), pytest.raises(psycopg.OperationalError):
            tx.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            connect(servers, name)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE more (n int)",
        "ALTER TABLE jobs ADD COLUMN more int",
        "DROP TABLE dispatch_rules",
        "DROP INDEX ix_tenants_trial_ends_at",
        "ANALYZE tenants",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET jit = off', current_database()); END $$",
        MANY,
    ],
)
def test_what_can_not_be_made_as_new_is_not_used_again(servers: Servers, statement: str) -> None:
    with servers.database() as first, connect(servers, first) as tx:
        before = tx.execute(WHICH).fetchone()
        tx.execute(statement)
    with servers.database() as second, connect(servers, second) as tx:
        assert tx.execute(WHICH).fetchone() != before


def test_temporary_tables_do_no_harm(servers: Servers) -> None:
    with servers.database() as first, connect(servers, first) as tx:
        before = tx.execute(WHICH).fetchone()
        tx.execute("CREATE TEMPORARY TABLE more (n int)")
        tx.execute("DROP TABLE more")
    with servers.database() as second, connect(servers, second) as tx:
        assert tx.execute(WHICH).fetchone() == before
