"""`celery -A tests.incidents.wrong_release worker`: the product's worker of a release with a fault in report.daily."""

import os
import signal
from pathlib import Path

from app.jobs import ReportDaily
from tests.incidents.release import FAULT, POISON
from workers.celery_app import app
from workers.handlers.report_daily import report_daily
from workers.runtime import registry
from workers.runtime.context import Context
from workers.runtime.outcome import Outcome
from workers.runtime.soft_limit import interruptible

LEAK_BYTES = 60_000_000
_kept: list[bytes] = []

__all__ = ["app"]


def _faulty(ctx: Context, job: ReportDaily) -> Outcome:
    match Path(os.environ[FAULT]).read_text():
        case "raise":
            raise TypeError("unsupported operand type(s) for -: 'str' and 'int'")
        case "leak":
            _kept.append(os.urandom(1) * LEAK_BYTES)
        case "kill" if job.day == POISON:
            os.kill(os.getpid(), signal.SIGSEGV)
    return report_daily(ctx, job)


registry._registrations[ReportDaily.spec.kind] = registry.Registration(
    ReportDaily, interruptible(_faulty)
)
