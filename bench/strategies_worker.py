"""The product's Celery application and dispatcher with the kinds of the three strategies: all of them sleep.

`python -m bench.strategies_worker` is the dispatcher.
"""

import signal
import time
from typing import ClassVar

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from workers.celery_app import app
from workers.runtime.context import Context
from workers.runtime.outcome import Done, Outcome
from workers.runtime.registry import handles
from workers.runtime.task import register_task


class Mixed(JobContract):
    """Of the one queue that has everything."""

    spec: ClassVar[JobSpec] = JobSpec(kind="bench.any", queue=Queue.DEFAULT)

    seconds: float


class Short(Mixed):
    """Urgent."""

    spec: ClassVar[JobSpec] = JobSpec(kind="bench.short", queue=Queue.HIGH)


class Middle(Mixed):
    """Neither."""

    spec: ClassVar[JobSpec] = JobSpec(kind="bench.middle", queue=Queue.DEFAULT)


class Long(Mixed):
    """Patient."""

    spec: ClassVar[JobSpec] = JobSpec(kind="bench.long", queue=Queue.LOW)


def _sleep(_ctx: Context, job: Mixed) -> Outcome:
    time.sleep(job.seconds)
    return Done()


KINDS = (Mixed, Short, Middle, Long)
for contract in KINDS:
    handles(contract)(_sleep)
    register_task(app, contract)


def main() -> None:
    """The product's dispatcher, which knows these kinds."""
    from app.dispatcher import Dispatcher
    from app.jobs import CATALOG
    from app.ledger.contract import catalog
    from app.settings import get_settings

    dispatcher = Dispatcher(get_settings(), catalog=catalog([*CATALOG.values(), *KINDS]))
    signal.signal(signal.SIGTERM, dispatcher.stop)
    dispatcher.run()


if __name__ == "__main__":
    main()
