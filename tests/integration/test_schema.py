"""The migrations make exactly the tables that the models describe."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, event, text

from app.errors import Unavailable
from app.migrations import run
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


def test_a_server_that_is_too_old_is_named_before_anything_is_touched(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "OLDEST_POSTGRESQL", 99)
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        with pytest.raises(Unavailable, match=r"PostgreSQL \d\d; 99 or newer is needed"):
            upgrade(settings)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert not [each for each in statements if not each.lower().startswith(("select", "show"))]
