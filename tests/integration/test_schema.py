"""The migrations make exactly the tables that the models describe."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text

from app.migrations.run import upgrade
from app.models.tables import TABLES
from app.settings import Settings


def test_the_migrations_and_the_models_agree(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, TABLES) == []


def test_storage_parameters_are_the_models_too(engine: Engine) -> None:
    """Alembic compares no fill factors and no autovacuum settings."""
    wanted = {
        table.name: {
            f"{name}={value}"
            for name, value in (table.dialect_options["postgresql"].get("with") or {}).items()
        }
        for table in TABLES.tables.values()
    }
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT relname, reloptions FROM pg_class WHERE relname = ANY(:names)"),
            {"names": list(wanted)},
        )
        assert {row.relname: set(row.reloptions or ()) for row in found} == wanted


def test_migrating_again_changes_nothing(settings: Settings, engine: Engine) -> None:
    upgrade(settings)
    with engine.connect() as connection:
        versions = connection.execute(text("SELECT version_num FROM alembic_version")).scalars()
        assert len(list(versions)) == 1
