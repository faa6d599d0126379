"""Alembic's entry point: one transaction, under a lock, so that two deployments can't migrate at once."""

from alembic import context
from sqlalchemy import text

from app.db import driver_connection, make_engine
from app.migrations.run import refuse_older
from app.models.tables import TABLES
from app.settings import get_settings

MIGRATION_LOCK = 0x6D696C6C  # "mill"

settings = context.config.attributes.get("settings") or get_settings()
engine = make_engine(settings.direct, pool_size=1, application_name="millrace-migrate")
try:
    with engine.begin() as connection:
        refuse_older(driver_connection(connection).info.server_version // 10_000)
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        context.configure(
            connection=connection, target_metadata=TABLES, compare_server_default=True
        )
        context.run_migrations()
finally:
    engine.dispose()
