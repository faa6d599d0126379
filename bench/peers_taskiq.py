"""Taskiq on a quorum queue (taskiq-aio-pika's own choice, and it confirms what it publishes), acknowledging when done.

`python -m bench.peers_taskiq` puts jobs in.
"""

import asyncio

from psycopg_pool import AsyncConnectionPool
from taskiq import TaskiqEvents, TaskiqState
from taskiq_aio_pika import AioPikaBroker
from taskiq_aio_pika.queue import Queue

from bench.peers_row import BROKER_URL, DATABASE_URL, SLOTS, insert, row_ids

TOGETHER = 50
"""Puts that wait for their confirms at the same time."""

broker = AioPikaBroker(BROKER_URL).with_queue(Queue(name="taskiq"))


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def connect(state: TaskiqState) -> None:
    state.pool = AsyncConnectionPool(DATABASE_URL, min_size=SLOTS, max_size=SLOTS, open=False)
    await state.pool.open(wait=True)
    print("ready", flush=True)


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def disconnect(state: TaskiqState) -> None:
    await state.pool.close()


@broker.task(task_name="insert_row")
async def insert_row(row_id: str, name: str) -> None:
    await insert(broker.state.pool, row_id, name)


async def put() -> None:
    await broker.startup()
    ids = list(row_ids())
    for first in range(0, len(ids), TOGETHER):
        some = ids[first : first + TOGETHER]
        await asyncio.gather(*(insert_row.kiq(row_id, "a row") for row_id in some))
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(put())
