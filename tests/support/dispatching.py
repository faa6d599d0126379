"""A dispatcher at work, in a thread of the test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, text

from app.dispatcher import Dispatcher
from app.jobs import CATALOG
from app.ledger.contract import Catalog
from app.ledger.enqueue import OUTBOX_CHANNEL
from app.settings import Settings
from tests.support.servers import wait_for


@contextmanager
def dispatching(
    settings: Settings, engine: Engine, *, dispatchers: int = 1, known: Catalog = CATALOG
) -> Iterator[None]:
    """Dispatch until the block ends; begins once all of them listen."""
    made = [Dispatcher(settings, catalog=known) for _ in range(dispatchers)]
    threads = [threading.Thread(target=one.run, name="dispatcher") for one in made]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: listeners(engine) >= dispatchers, what="the dispatchers' start")
        yield
    finally:
        for one in made:
            one.stop()
        with engine.begin() as tx:
            tx.execute(text(f"NOTIFY {OUTBOX_CHANNEL}"))
        for thread in threads:
            thread.join(20)


def listeners(engine: Engine) -> int:
    """How many dispatchers wait for notifications in this database."""
    query = text("""
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'millrace-dispatcher'
          AND query LIKE 'LISTEN%'
    """)
    with engine.connect() as tx:
        number: int = tx.execute(query).scalar_one()
        return number
