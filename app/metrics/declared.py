"""Every metric of the product, declared here alone: dashboards, rules and docs/metrics.md are held against it.

Names are Prometheus's: base units, `_total` for what only rises. No label ever names a tenant or a job: the
number of series follows from the code and not from the customers. `millrace tenants top` names tenants.
"""

from dataclasses import dataclass
from enum import StrEnum


class Type(StrEnum):
    """Prometheus's types."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Process(StrEnum):
    """Which of our processes shows it."""

    WEB = "web"
    DISPATCHER = "dispatcher"
    WORKER = "worker"


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """`buckets` are upper bounds in the metric's unit; infinity comes by itself."""

    process: Process
    type: Type
    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_WAIT = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 21600.0)
_RUN = (0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0)
_TRIES = (1.0, 2.0, 3.0, 5.0, 8.0, 12.0)
_BATCH = (1.0, 5.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 5000.0)

_WEB, _DISPATCHER, _WORKER = Process.WEB, Process.DISPATCHER, Process.WORKER
_COUNTER, _GAUGE, _HISTOGRAM = Type.COUNTER, Type.GAUGE, Type.HISTOGRAM

HTTP_REQUESTS = Metric(
    _WEB,
    _COUNTER,
    "millrace_http_requests_total",
    "Requests that were answered, by route template and status.",
    ("method", "route", "status"),
)
HTTP_SECONDS = Metric(
    _WEB,
    _HISTOGRAM,
    "millrace_http_request_duration_seconds",
    "From a request's first byte to its answer's first byte; an upload's body is read within.",
    ("method", "route"),
    _FAST,
)
HTTP_OPEN = Metric(
    _WEB, _GAUGE, "millrace_http_requests_open", "Requests being worked on, streams included."
)

QUEUE_DUE = Metric(
    _DISPATCHER,
    _GAUGE,
    "millrace_queue_due_jobs",
    "Jobs in the ledger that are due and not with the broker yet: rows that the dispatcher is behind, or that are kept back.",
    ("queue",),
)
QUEUE_LATER = Metric(
    _DISPATCHER,
    _GAUGE,
    "millrace_queue_later_jobs",
    "Jobs in the ledger that are due later: retries, snoozes, what is scheduled.",
    ("queue",),
)
QUEUE_IN_FLIGHT = Metric(
    _DISPATCHER,
    _GAUGE,
    "millrace_queue_in_flight_jobs",
    "Jobs with the broker (state queued) or with a worker (running).",
    ("queue", "state"),
)
QUEUE_OLDEST = Metric(
    _DISPATCHER,
    _GAUGE,
    "millrace_queue_oldest_age_seconds",
    "How long the longest due job has been waiting to begin (the lag), what is paused left out; 0 when none waits.",
    ("queue",),
)
QUEUE_READY = Metric(
    _DISPATCHER,
    _GAUGE,
    "millrace_queue_ready_messages",
    "Messages in the broker's queue that no consumer has taken; queue=dead: dead letters to be collected.",
    ("queue",),
)
QUEUE_CONSUMERS = Metric(
    _DISPATCHER,
    _GAUGE,
    "millrace_queue_consumers",
    "Consumers of the broker's queue: workers that are connected.",
    ("queue",),
)
QUEUE_READ = Metric(
    _DISPATCHER,
    _GAUGE,
    "millrace_queue_reading_timestamp_seconds",
    "When ledger and broker last told the figures millrace_queue_*, and when the store last answered, by source.",
    ("source",),
)
DEAD_LETTERS = Metric(
    _DISPATCHER,
    _GAUGE,
    "millrace_dead_letters_open",
    "Dead letters that nobody has dealt with, of incidents that are open; kind is other where it is none of ours.",
    ("kind",),
)
DATABASE_CONNECTIONS = Metric(
    _DISPATCHER,
    _GAUGE,
    "millrace_postgres_connections",
    "Connections to the PostgreSQL server, whoever made them.",
)
DATABASE_CONNECTIONS_MAX = Metric(
    _DISPATCHER,
    _GAUGE,
    "millrace_postgres_connections_max",
    "How many connections PostgreSQL takes of others than superusers.",
)
DATABASE_OLDEST = Metric(
    _DISPATCHER,
    _GAUGE,
    "millrace_postgres_oldest_transaction_seconds",
    "How long the oldest transaction in our database has been open; 0 when none is.",
)
BATCH_JOBS = Metric(
    _DISPATCHER,
    _HISTOGRAM,
    "millrace_dispatch_batch_jobs",
    "Jobs in a batch that was published.",
    (),
    _BATCH,
)
BATCH_SECONDS = Metric(
    _DISPATCHER,
    _HISTOGRAM,
    "millrace_dispatch_batch_duration_seconds",
    "For a batch: look, publish, confirm, mark, commit.",
    (),
    _FAST,
)
CONFIRM_SECONDS = Metric(
    _DISPATCHER,
    _HISTOGRAM,
    "millrace_dispatch_confirm_duration_seconds",
    "To publish a batch and have the broker's confirms.",
    (),
    _FAST,
)
DISPATCHED = Metric(
    _DISPATCHER,
    _COUNTER,
    "millrace_dispatched_jobs_total",
    "Jobs that the broker took and that were committed as queued: first tries, retries and replays.",
    ("queue",),
)
REFUSED = Metric(
    _DISPATCHER,
    _COUNTER,
    "millrace_dispatch_refused_jobs_total",
    "Jobs that the broker refused, because a queue is full or gone; they stay in the ledger.",
    ("queue",),
)
CONNECTED = Metric(
    _DISPATCHER,
    _GAUGE,
    "millrace_dispatcher_connected",
    "1 while the dispatcher has its connections to broker and database.",
)
CHORE_SUCCESS = Metric(
    _DISPATCHER,
    _GAUGE,
    "millrace_chore_last_success_timestamp_seconds",
    "When the chore's last step went well; chore is collector, timekeeper, scheduler, janitor or gauge.",
    ("chore",),
)
CHORE_FAILURES = Metric(
    _DISPATCHER,
    _COUNTER,
    "millrace_chore_failures_total",
    "Steps of the chore that failed.",
    ("chore",),
)

ATTEMPTS = Metric(
    _WORKER,
    _COUNTER,
    "millrace_job_attempts_total",
    "Deliveries that came to an end; outcome is done, retry, snooze, cancel, dead, lost_lease, "
    "nothing_to_claim or given_back.",
    ("kind", "queue", "outcome"),
)
WAIT_SECONDS = Metric(
    _WORKER,
    _HISTOGRAM,
    "millrace_job_wait_seconds",
    "From the moment that an attempt was due to its begin.",
    ("kind", "queue"),
    _WAIT,
)
RUN_SECONDS = Metric(
    _WORKER,
    _HISTOGRAM,
    "millrace_job_run_seconds",
    "Of an attempt: claim, handler and settling.",
    ("kind", "queue"),
    _RUN,
)
TRIES = Metric(
    _WORKER,
    _HISTOGRAM,
    "millrace_job_tries",
    "Attempts that a job had when it ended: done, cancel or dead.",
    ("kind", "queue"),
    _TRIES,
)
TIMEOUTS = Metric(
    _WORKER,
    _COUNTER,
    "millrace_job_timeouts_total",
    "Attempts ended by a time limit; limit is soft (the handler was told) or hard (its process was killed).",
    ("kind", "queue", "limit"),
)
IMPORT_ROWS = Metric(
    _WORKER,
    _COUNTER,
    "millrace_import_rows_total",
    "Rows that committed chunks came to; result is inserted, updated, unchanged or rejected.",
    ("result",),
)
SLOTS = Metric(
    _WORKER, _GAUGE, "millrace_pool_slots", "Jobs that the pool can run at a time.", ("pool",)
)
SLOTS_BUSY = Metric(
    _WORKER, _GAUGE, "millrace_pool_slots_busy", "Jobs that the pool runs now.", ("pool",)
)
BUSY_SECONDS = Metric(
    _WORKER,
    _COUNTER,
    "millrace_pool_busy_seconds_total",
    "Time that children spent on messages; its rate by slots is the busy share.",
    ("pool",),
)
CHILDREN_STARTED = Metric(
    _WORKER,
    _COUNTER,
    "millrace_pool_children_started_total",
    "Children that the pool started: more than its slots are those that were recycled or lost.",
    ("pool",),
)
CHILDREN_MEMORY = Metric(
    _WORKER,
    _GAUGE,
    "millrace_pool_children_memory_bytes",
    "Resident memory of the pool's children together (Linux); shared pages count for each.",
    ("pool",),
)
UNACKNOWLEDGED = Metric(
    _WORKER,
    _GAUGE,
    "millrace_pool_unacknowledged_messages",
    "Messages that the broker gave the pool and that it hasn't answered; their sum is the queue's.",
    ("pool",),
)

ALL: tuple[Metric, ...] = tuple(value for value in globals().values() if isinstance(value, Metric))
