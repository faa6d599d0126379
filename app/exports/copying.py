"""What `COPY ... TO` sends, in blocks of many rows, over a connection of its own.

psycopg hands on each row by itself, and asyncpg all that has arrived: a third of the CPU. The second
connection goes to the same server and reads in the same snapshot.
"""

import asyncio
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from typing import Any
from urllib.parse import urlencode

from psycopg import Connection as Driver
from sqlalchemy import Connection, text

from app.db import driver_connection

BLOCK_BYTES = 1024 * 1024
"""About so much of the rows comes at once, as CSV. More is slower: a processor's caches hold so much."""
BLOCKS_AHEAD = 4
"""So many are read while one is written: the server sends on meanwhile."""
_CONNECT_SECONDS = 5.0
_TLS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl")
_EXPORT = text("SELECT pg_export_snapshot()")


def copy_blocks(tx: Connection, query: str) -> Generator[bytes]:
    """The rows of the query as CSV, whole rows of about BLOCK_BYTES, each with a line feed at its end.

    `tx` is REPEATABLE READ and stays open meanwhile. A thread reads, BLOCKS_AHEAD of the block that is asked
    for. Close the iterator, and the connection is gone; the server then ends the statement. Raises asyncpg's
    errors and OSError.
    """
    snapshot = tx.execute(_EXPORT).scalar_one()
    blocks: Queue[bytes | None] = Queue(BLOCKS_AHEAD)
    with (
        asyncio.Runner() as runner,
        ThreadPoolExecutor(1, thread_name_prefix="export-copy") as pool,
    ):
        connection = runner.run(_connect(driver_connection(tx), snapshot))
        copying = pool.submit(runner.run, _copy(connection, query, blocks))
        try:
            yield from iter(blocks.get, None)
        except BaseException:
            runner.get_loop().call_soon_threadsafe(connection.terminate)
            for _ in iter(blocks.get, None):
                pass  # the thread may be waiting for room
            raise
        copying.result()


async def _connect(other: Driver, snapshot: str) -> Any:
    """A connection as the other one, at its snapshot."""
    import asyncpg

    info = other.info
    said = info.get_parameters()
    tls = urlencode({name: said[name] for name in _TLS if name in said})
    connection = await asyncpg.connect(
        f"postgresql://?{tls}",
        host=info.host,
        port=info.port,
        user=info.user,
        password=info.password,
        database=info.dbname,
        timeout=_CONNECT_SECONDS,
        statement_cache_size=0,  # behind a pooler the next transaction has another session
        server_settings={
            name: said[name] for name in ("options", "application_name") if name in said
        },
    )
    try:
        # Every row comes here: that other processes of the server help to read them costs more than it gives.
        await connection.execute(
            "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;"
            f" SET TRANSACTION SNAPSHOT '{snapshot}';"
            " SET LOCAL max_parallel_workers_per_gather = 0"
        )
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _copy(connection: Any, query: str, blocks: Queue[bytes | None]) -> None:
    """Put the blocks, and None at the end of any kind. To wait for room holds up the server, as it should."""
    held = bytearray()

    async def take(rows: bytes) -> None:
        held.extend(rows)
        if len(held) >= BLOCK_BYTES:
            blocks.put(bytes(held))
            held.clear()

    try:
        await connection.copy_from_query(query, output=take, format="csv")
        if held:
            blocks.put(bytes(held))
    finally:
        connection.terminate()
        blocks.put(None)
