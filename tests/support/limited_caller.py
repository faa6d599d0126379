"""A process that calls a CRM by the product's own client for a while: `python -m tests.support.limited_caller
CONNECTION SECONDS`. It is ready when it has written a line, and begins when it reads one.
"""

import sys
import threading
import time
from contextlib import closing, suppress
from uuid import UUID

from sqlalchemy import text

from app.db import make_engine
from app.settings import get_settings
from app.sync.connections import Access, open_remote
from app.sync.remote import Later

THREADS = 2
"""Enough for the limit to be what holds them back, also on a busy machine."""

_ACCESS = text("""
    SELECT tenant_id, id AS connection_id, base_url, token, per_second FROM connections WHERE id = :id
""")


def main(connection_id: UUID, seconds: float) -> None:
    settings = get_settings()
    engine = make_engine(settings, pool_size=THREADS, application_name="limited-caller")
    with engine.connect() as tx:
        access = Access(**tx.execute(_ACCESS, {"id": connection_id}).one()._mapping)
    go = threading.Event()

    def call() -> None:
        with closing(open_remote(engine, access, settings)) as remote:
            go.wait()
            ends_at = time.monotonic() + seconds
            while time.monotonic() < ends_at:
                with suppress(Later):
                    remote.page(cursor=None, since=None)

    callers = [threading.Thread(target=call) for _ in range(THREADS)]
    for caller in callers:
        caller.start()
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()
    go.set()
    for caller in callers:
        caller.join()
    engine.dispose()


if __name__ == "__main__":
    main(UUID(sys.argv[1]), float(sys.argv[2]))
