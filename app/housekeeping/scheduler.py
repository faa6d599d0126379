"""Fires the schedules that are due."""

from sqlalchemy import Engine

from app.ledger.contract import Catalog
from app.schedules.firing import BATCH, fire_due


class Scheduler:
    """A step is one transaction: the slots, their jobs and the next slots."""

    def __init__(self, engine: Engine, catalog: Catalog) -> None:
        self._engine = engine
        self._catalog = catalog

    def step(self) -> bool:
        """Fire one batch; True when more may be due."""
        with self._engine.begin() as tx:
            return fire_due(tx, self._catalog) == BATCH
