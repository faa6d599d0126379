"""Who carries the scaling policy out, and how fast: KEDA with containers, Celery's worker with children.

What they see and how slowly they act is what the product ships; a scaler that saw everything at once would promise
too much.
"""

from dataclasses import dataclass

from app.housekeeping import gauge
from app.ledger.pressure import LINES
from app.scaling.policy import ScalingPolicy
from app.settings import Settings
from workers.runtime.autoscaling import LagAutoscaler, policy_of

NOWHERE = {
    "MILLRACE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "MILLRACE_BROKER_URL": "amqp://nobody@127.0.0.1:1/none",
}
LEAST_CHILDREN, MOST_CHILDREN = 4, 100
"""Of each of the three pools: as many as the workers in the fewest and the most containers."""

LINES_A_JOB = 4
"""In the history: enqueue, dispatch, claim, succeed."""
FORK_SECONDS, NEXT_FORK_SECONDS = 0.3, 0.03
"""Until a child takes its first job, and each further one of the same look: a little more than was measured on two
busy cores.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaler:
    """Times in seconds.

    `measured_seconds`: so often the backlog is counted, halfway between two of them at first. `rate_seconds`: over
    so long what is dispatched and how long jobs take is looked at, or over what the last `rate_jobs` of all pools took.
    A new worker takes its first job `ready_seconds` after the look, each further one `each_seconds` later.
    """

    policy: ScalingPolicy
    measured_seconds: float
    rate_seconds: float
    rate_jobs: int | None = None
    ready_seconds: float
    each_seconds: float = 0.0
    paced: bool = False
    """Up by at most twice or ten replicas a look, down by a quarter a minute."""

    def within_pace(self, target: int, replicas: int, ended: int) -> int:
        """As far towards `target` as it goes now; `ended` of the last minute's are gone already."""
        if not self.paced:
            return target
        most = max(replicas * 2, replicas + 10)
        least = min(replicas, int((replicas + ended) * 0.75))
        return max(least, min(most, target))


CONTAINERS = Scaler(
    policy=ScalingPolicy(),
    measured_seconds=15.0,  # Prometheus' scrape_interval
    rate_seconds=300.0,
    ready_seconds=20.0,  # scheduling, image at hand, Celery's start
    paced=True,
)


def processes(settings: Settings | None = None, *, least: int = LEAST_CHILDREN) -> Scaler:
    """`celery worker --autoscale`, with the product's own settings where none are given."""
    settings = settings or Settings.of(NOWHERE)
    return Scaler(
        policy=policy_of(settings, most=MOST_CHILDREN, least=least),
        measured_seconds=gauge.SECONDS,
        rate_seconds=settings.scaling_drain_seconds,
        rate_jobs=LINES // LINES_A_JOB,
        ready_seconds=LagAutoscaler.keepalive / 2 + FORK_SECONDS,
        each_seconds=NEXT_FORK_SECONDS,
    )
