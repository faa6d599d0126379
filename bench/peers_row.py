"""What the peers' applications in Python share: where they are told what to do, and the one row as coroutines insert it."""

import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from bench.throughput_row import INSERT

SLOTS = int(os.environ.get("BENCH_SLOTS", "1"))
"""How many jobs a process runs at a time."""
BROKER_URL = os.environ["MILLRACE_BROKER_URL"]
DATABASE_URL = os.environ["MILLRACE_DATABASE_URL"]
STATEMENT = re.sub(r":(\w+)", r"%(\1)s", INSERT.text)


def row_ids() -> Iterator[str]:
    """What is to be put in: one id a line of standard input."""
    return (line.strip() for line in sys.stdin)


async def insert(pool: Any, row_id: str, name: str) -> None:
    """In a transaction of its own, on a connection of `pool`, an AsyncConnectionPool of psycopg's."""
    async with pool.connection() as connection:
        await connection.execute(STATEMENT, {"id": row_id, "name": name})
