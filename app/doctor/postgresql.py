"""PostgreSQL: version, schema, rights, clock, connections, and a pooler where there is one."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
from alembic.script import ScriptDirectory
from psycopg import sql

from app.connections import SPARE
from app.db import SESSION_SETTINGS, direct_connection, probe_connection
from app.doctor.clocks import skew
from app.doctor.findings import Finding, failed, ok, warning
from app.migrations.run import OLDEST_POSTGRESQL, config
from app.models.tables import TABLES
from app.server_limits import over_postgres, plan_of, postgres_limits, wanted_of_postgres, words_of
from app.settings import Settings

_CHANNEL = "millrace_doctor"
_NOTIFY_SECONDS = 2.0
_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
_NO_RIGHTS = """
    SELECT t.name FROM unnest(%s::text[]) AS t(name)
    WHERE to_regclass(t.name) IS NOT NULL
      AND NOT (SELECT bool_and(has_table_privilege(t.name, r)) FROM unnest(%s::text[]) AS r)
    ORDER BY t.name
"""
_WRITES = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'"
_IN_USE = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
_UNSAFE = """
    SELECT name FROM pg_settings
    WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off' ORDER BY name
"""


def postgresql(settings: Settings) -> Iterator[Finding]:
    """Straight at the server, and then through the pooler."""
    try:
        connection = direct_connection(settings, application_name="millrace-doctor")
    except psycopg.Error as error:
        name = "MILLRACE_DATABASE_DIRECT_URL" if settings.pooled else "MILLRACE_DATABASE_URL"
        change = f"Start PostgreSQL, or set {name} right; look at pg_hba.conf for a refusal."
        yield failed("postgresql.reach", _first_line(error), change)
        return
    with connection:
        yield ok("postgresql.reach", f"connected as {connection.info.user}")
        yield _directly(connection)
        yield _version(connection)
        yield from _state(connection)
        yield _schema(settings, connection)
        yield _rights(connection)
        yield _clock(connection)
        yield _connections(settings, connection)
        if settings.pooled:
            yield from _pooler(settings, connection)


def _directly(connection: psycopg.Connection) -> Finding:
    """A pooler has a number of its own for the connection, and not the backend's."""
    (backend,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (None,)
    if backend != connection.info.backend_pid:
        change = "Set MILLRACE_DATABASE_DIRECT_URL to PostgreSQL itself (docs/pgbouncer.md)."
        return failed("postgresql.direct", "a pooler is in between: LISTEN can't work", change)
    return ok("postgresql.direct", "no pooler is in between")


def _version(connection: psycopg.Connection) -> Finding:
    number = connection.info.server_version
    found = f"PostgreSQL {number // 10_000}.{number % 10_000}"
    if number // 10_000 < OLDEST_POSTGRESQL:
        return failed(
            "postgresql.version", found, f"Upgrade to PostgreSQL {OLDEST_POSTGRESQL} or newer."
        )
    return ok("postgresql.version", found)


def _state(connection: psycopg.Connection) -> Iterator[Finding]:
    (standby, read_only) = connection.execute(_WRITES).fetchone() or (False, False)
    if standby:
        yield failed(
            "postgresql.primary",
            "it is a standby, which can't be written to",
            "Use the primary's address.",
        )
    elif read_only:
        yield failed(
            "postgresql.primary",
            "it takes no writes",
            "Set default_transaction_read_only to off: it may be so for the server, the database or the role.",
        )
    unsafe = [name for (name,) in connection.execute(_UNSAFE)]
    if unsafe:
        found = f"off: {', '.join(unsafe)}; a power cut loses jobs that were accepted"
        yield warning("postgresql.durability", found, "Set them to on.")
    else:
        yield ok("postgresql.durability", "what is committed is on disk")


def _schema(settings: Settings, connection: psycopg.Connection) -> Finding:
    scripts = ScriptDirectory.from_config(config(settings))
    head = scripts.get_current_head()
    (there,) = connection.execute("SELECT to_regclass('alembic_version')").fetchone() or (None,)
    row = (
        connection.execute("SELECT version_num FROM alembic_version").fetchone() if there else None
    )
    at = row[0] if row else None
    if at == head:
        return ok("postgresql.migrations", f"at {head}")
    known = {script.revision for script in scripts.walk_revisions()}
    if at is not None and at not in known:
        change = "Deploy the release that migrated it, or a newer one."
        return failed("postgresql.migrations", f"at {at}, which this release doesn't know", change)
    return failed(
        "postgresql.migrations", f"at {at or 'none'}, and not at {head}", "Run `millrace migrate`."
    )


def _rights(connection: psycopg.Connection) -> Finding:
    tables = list(TABLES.tables)
    rows = connection.execute(_NO_RIGHTS, [tables, list(_RIGHTS)]).fetchall()
    if rows:
        names = ", ".join(name for (name,) in rows[:5]) + (" and more" if rows[5:] else "")
        role = connection.info.user
        change = (
            f"As their owner: GRANT {', '.join(_RIGHTS)} ON ALL TABLES IN SCHEMA public TO {role};"
        )
        return failed("postgresql.rights", f"{role} may not do everything with {names}", change)
    return ok("postgresql.rights", "reads and writes every table")


def _clock(connection: psycopg.Connection) -> Finding:
    before = time.time()
    (theirs,) = connection.execute("SELECT clock_timestamp()").fetchone() or (datetime.now(UTC),)
    ours = (before + time.time()) / 2
    return skew("postgresql.clock", "PostgreSQL", theirs.timestamp() - ours)


def _connections(settings: Settings, connection: psycopg.Connection) -> Finding:
    limits = postgres_limits(connection)
    over = over_postgres(settings, limits)
    name = "postgresql.connections"
    if over:
        return failed(name, over.found, over.change)
    plan = plan_of(settings)
    wanted = wanted_of_postgres(settings, plan)
    (used,) = connection.execute(_IN_USE).fetchone() or (0,)
    of = words_of(plan, "direct" if settings.pooled else "postgres")
    found = f"up to {wanted} of {limits.ours} ({of}); {used} in use now"
    if wanted + SPARE > limits.ours:
        change = (
            f"Raise max_connections: {SPARE} should stay for people, migrations and monitoring."
        )
        return warning(name, found, change)
    return ok(name, found)


def _pooler(settings: Settings, direct: psycopg.Connection) -> Iterator[Finding]:
    try:
        pooled = probe_connection(settings)
    except psycopg.Error as error:
        change = "Start the pooler, or set MILLRACE_DATABASE_URL right."
        yield failed("pooler.reach", _first_line(error), change)
        return
    with pooled:
        rows = [
            pooled.execute(sql.SQL("SHOW {}").format(sql.Identifier(name))).fetchone()
            for name in SESSION_SETTINGS
        ]
        if [row and row[0] for row in rows] != list(SESSION_SETTINGS.values()):
            found = f"{' and '.join(SESSION_SETTINGS)} aren't set for our role"
            yield failed(
                "pooler.session",
                found,
                "Run `millrace migrate`, then RECONNECT in the pooler's console.",
            )
        else:
            yield ok("pooler.session", "the role's settings are in force")
        direct.execute(sql.SQL("LISTEN {}").format(sql.Identifier(_CHANNEL)))
        pooled.execute("SELECT pg_notify(%s, '')", [_CHANNEL])
        if list(direct.notifies(timeout=_NOTIFY_SECONDS, stop_after=1)):
            yield ok("pooler.same_server", "what is notified through the pooler is heard past it")
        else:
            found = "what is notified through MILLRACE_DATABASE_URL isn't heard at MILLRACE_DATABASE_DIRECT_URL"
            yield failed(
                "pooler.same_server", found, "Point both at the same database of the same server."
            )


def _first_line(error: psycopg.Error) -> str:
    """Libpq quotes a URL that it can't read, with the password in it."""
    if isinstance(error, psycopg.ProgrammingError):
        return "the URL isn't like postgresql://user:password@host:port/database"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
