"""`celery -A tests.chaos.worker_process worker`: the product's workers, with the campaign's kinds."""

import faulthandler
import signal

from tests.chaos import (
    breaks,
    busy,
    handlers,  # noqa: F401 - registers the campaign's handlers
)
from tests.chaos.contracts import KINDS
from workers.celery_app import app
from workers.runtime.task import register_task

breaks.in_worker(app)
busy.watch()
faulthandler.register(signal.SIGUSR2)  # where does it hang? Its log will say
for contract in KINDS:
    register_task(app, contract)
