"""Run Alembic from code, so that no ini file has to be found."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from app.settings import Settings


def config(settings: Settings) -> Config:
    """Alembic's configuration for this database."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent))
    made.attributes["settings"] = settings
    return made


def upgrade(settings: Settings, revision: str = "head") -> None:
    """Apply what is missing. Two at once take turns: the second finds nothing to do."""
    command.upgrade(config(settings), revision)
