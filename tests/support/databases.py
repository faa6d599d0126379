"""Databases for the tests: each gets one that is as new, and most of them aren't.

Making a database and dropping it is a thousand files, and whoever connects to a new one reads all about its tables
anew; to empty one that a test has used costs less than half.
What a test left is gone all the same: sessions are ended, and whoever was late finds no database of that name.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
from psycopg import sql

from infra.local.postgres import ROLE, SUPERUSER
from infra.local.waiting import until

TEMPLATE = "template_millrace"

_PRISTINE = """
    CREATE SCHEMA pristine;
    CREATE TABLE pristine.changes (tag text);
    CREATE TABLE pristine.relations AS
        SELECT oid AS relation, reltuples FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r';
    CREATE SCHEMA seeds;
    DO $$
    DECLARE name text; filled boolean;
    BEGIN
        FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
            EXECUTE format('SELECT EXISTS (SELECT FROM public.%I)', name) INTO filled;
            IF filled THEN
                EXECUTE format('CREATE TABLE seeds.%I AS TABLE public.%I', name, name);
            END IF;
        END LOOP;
    END $$;

    CREATE FUNCTION pristine.note_change() RETURNS event_trigger LANGUAGE plpgsql
        SECURITY DEFINER SET search_path = pg_catalog AS $$
    BEGIN
        IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands()
                   WHERE schema_name IS DISTINCT FROM 'pg_temp') THEN
            INSERT INTO pristine.changes VALUES (tg_tag);
        END IF;
    END $$;
    CREATE FUNCTION pristine.note_drop() RETURNS event_trigger LANGUAGE plpgsql
        SECURITY DEFINER SET search_path = pg_catalog AS $$
    BEGIN
        IF EXISTS (SELECT FROM pg_event_trigger_dropped_objects() WHERE NOT is_temporary) THEN
            INSERT INTO pristine.changes VALUES (tg_tag);
        END IF;
    END $$;

    -- Why it can't be made as new; NULL: it is. A table of up to ten pages is planned for like an empty one.
    CREATE FUNCTION pristine.restore() RETURNS text LANGUAGE plpgsql AS $$
    DECLARE name text;
    BEGIN
        IF EXISTS (SELECT FROM pristine.changes) THEN
            RETURN 'its tables were changed';
        ELSIF EXISTS (SELECT FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase
                      WHERE d.datname = current_database()) THEN
            RETURN 'it has settings';
        ELSIF EXISTS (SELECT FROM pg_statistic WHERE starelid >= 16384) OR EXISTS (
                      SELECT FROM pristine.relations r JOIN pg_class c ON c.oid = relation
                      WHERE c.reltuples <> r.reltuples) THEN
            RETURN 'it has statistics';
        ELSIF EXISTS (SELECT FROM pristine.relations
                      WHERE pg_relation_size(relation) > 10 * 8192) THEN
            RETURN 'it has grown';
        END IF;
        PERFORM set_config('session_replication_role', 'replica', true);
        FOR name IN SELECT relation::regclass FROM pristine.relations
                    WHERE pg_relation_size(relation) > 0 LOOP
            EXECUTE format('DELETE FROM %s', name);
        END LOOP;
        FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'seeds'::regnamespace
                    AND relkind = 'r' LOOP
            EXECUTE format('INSERT INTO public.%I SELECT * FROM seeds.%I', name, name);
        END LOOP;
        PERFORM setval(seqrelid::regclass, seqstart, false) FROM pg_sequence
        WHERE pg_sequence_last_value(seqrelid) IS NOT NULL;
        RETURN NULL;
    END $$;

    CREATE EVENT TRIGGER changes ON ddl_command_end EXECUTE FUNCTION pristine.note_change();
    CREATE EVENT TRIGGER drops ON sql_drop EXECUTE FUNCTION pristine.note_drop();
"""


class Databases:
    """Of one server. `url` gives the superuser's URL of a database by name."""

    def __init__(self, url: Callable[[str], str]) -> None:
        self._url = url
        self._kept: psycopg.Connection | None = None
        self._as_new: list[str] = []

    def cheapen_logins(self, password: str) -> None:
        """Whoever tries to guess a test's password may do so fast: a login costs as much as a small test."""
        self.run("SET scram_iterations = 1")
        for role in (ROLE, SUPERUSER):
            statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
            self.run(statement.format(sql.Identifier(role), sql.Literal(password)))

    def make_template(self, migrate: Callable[[str], None]) -> None:
        """Make the database that all others are copies of; `migrate` gets its name."""
        self.create(TEMPLATE, template="template0")
        migrate(TEMPLATE)
        with psycopg.connect(self._url(TEMPLATE)) as tx:
            tx.execute(_PRISTINE)

    @contextmanager
    def one(self) -> Iterator[str]:
        """The name of a database with the product's tables, as new; gone at the end whoever still uses it."""
        name = self._as_new.pop() if self._as_new else self._copy()
        try:
            yield name
        finally:
            self._end(name)

    def create(self, name: str, *, template: str) -> None:
        statement = sql.SQL("CREATE DATABASE {} OWNER millrace TEMPLATE {} STRATEGY FILE_COPY")
        self.run(statement.format(sql.Identifier(name), sql.Identifier(template)))

    def end_sessions(self, database: str) -> int:
        """Terminate every backend that works on the database; how many there were."""
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        ended = len(self.run(query, database).fetchall())
        if ended:
            left = "SELECT FROM pg_stat_activity WHERE datname = %s"
            until(lambda: not self.run(left, database).fetchall(), seconds=5, interval=0.005)
        return ended

    def run(self, statement: str | sql.Composed, *values: object) -> psycopg.Cursor:
        """As the superuser, outside of a transaction."""
        if self._kept is None or self._kept.broken:
            self._kept = psycopg.connect(self._url("postgres"), autocommit=True)
        return self._kept.execute(statement, values or None)

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()

    def _copy(self) -> str:
        name = _new_name()
        self.create(name, template=TEMPLATE)
        return name

    def _end(self, name: str) -> None:
        """Keep it for another test, under another name; or drop it."""
        self.end_sessions(name)
        new = _new_name()
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        try:
            self.run(rename.format(sql.Identifier(name), sql.Identifier(new)))
        except psycopg.errors.ObjectInUse:
            self._drop(name)
            return
        with psycopg.connect(self._url(new)) as tx:
            why_not = tx.execute("SELECT pristine.restore()").fetchone()
        if why_not == (None,):
            self._as_new.append(new)
        else:
            self._drop(new)

    def _drop(self, name: str) -> None:
        self.run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _new_name() -> str:
    return f"test_{uuid4().hex}"
