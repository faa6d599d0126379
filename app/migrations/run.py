"""Run Alembic from code, so that no ini file has to be found."""

from collections.abc import Sequence
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from app.errors import Unavailable, Unprocessable
from app.settings import Settings

OLDEST_POSTGRESQL = 18
"""Major version: the first with `uuidv7()`, and with `old` and `new` in RETURNING."""


def config(settings: Settings) -> Config:
    """Alembic's configuration for this database."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent))
    made.attributes["settings"] = settings
    return made


def upgrade(settings: Settings, revision: str = "head") -> None:
    """Apply what is missing. Two at once take turns: the second finds nothing to do.

    Raises Unavailable, with nothing touched, where the server is too old, and Unprocessable where two
    migrations are the newest.
    """
    command.upgrade(config(settings), newest(settings) if revision == "head" else revision)


def newest(settings: Settings) -> str:
    """The revision that `upgrade` ends at. Raises Unprocessable where two migrations are the newest."""
    return only(ScriptDirectory.from_config(config(settings)).get_heads())


def only(heads: Sequence[str]) -> str:
    """The one revision that no other follows. Raises Unprocessable for several: two branches were merged."""
    if len(heads) > 1:
        raise Unprocessable(
            f"Several migrations are the newest: {', '.join(sorted(heads))}. Add one behind all of them; "
            "docs/upgrade.md shows it. Nothing was changed."
        )
    return heads[0]


def refuse_older(server: int) -> None:
    """`server` is the major version of PostgreSQL. Raises Unavailable where that is too old."""
    if server < OLDEST_POSTGRESQL:
        raise Unavailable(
            f"The database is PostgreSQL {server}; {OLDEST_POSTGRESQL} or newer is needed. Nothing was changed."
        )
