"""Procrastinate: the queue is a table of the same PostgreSQL, and what is done stays there, with its events."""

import procrastinate
from psycopg_pool import AsyncConnectionPool

from bench.peers_row import DATABASE_URL, SLOTS, insert, row_ids

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=DATABASE_URL, min_size=1, max_size=SLOTS + 2)
)
pool = AsyncConnectionPool(DATABASE_URL, min_size=SLOTS, max_size=SLOTS, open=False)


@app.task(queue="bench", name="insert_row")
async def insert_row(row_id: str, name: str) -> None:
    await pool.open()  # does nothing from the second time on
    await insert(pool, row_id, name)


def make_schema() -> None:
    """Where it is missing."""
    with app.open():
        if not app.check_connection():
            app.schema_manager.apply_schema()


def put() -> None:
    with app.open():
        insert_row.batch_defer(*({"row_id": one, "name": "a row"} for one in row_ids()))
