"""All chores of a dispatcher."""

from sqlalchemy import Engine

from app.housekeeping.chores import Chore, Chores
from app.housekeeping.collector import Collector
from app.housekeeping.gauge import Gauge
from app.housekeeping.janitor import Janitor
from app.housekeeping.scheduler import Scheduler
from app.housekeeping.timekeeper import Timekeeper
from app.ledger.aftermath import Aftermaths
from app.ledger.contract import Catalog
from app.settings import Settings
from app.storage import make_storage


def chores_of(
    settings: Settings, engine: Engine, catalog: Catalog, aftermaths: Aftermaths
) -> Chores:
    """What a dispatcher does beside dispatching, a thread each."""
    collector = Collector(settings, engine, catalog, aftermaths)
    timekeeper = Timekeeper(engine, aftermaths, lease_seconds=settings.lease_seconds)
    scheduler = Scheduler(engine, catalog)
    janitor = Janitor(settings, make_storage(settings), engine)
    successes: dict[str, float] = {}
    return Chores(
        Chore(name="collector", every_seconds=1.0, step=collector.step, close=collector.close),
        Chore(name="timekeeper", every_seconds=1.0, step=timekeeper.step),
        Chore(name="scheduler", every_seconds=1.0, step=scheduler.step),
        Chore(name="gauge", every_seconds=1.0, step=Gauge(engine, successes).step),
        Chore(name="janitor", every_seconds=600.0, step=janitor.step),
        successes=successes,
    )
