"""The depth of the queues, dead letters, the database's state and whether the store answers, for Prometheus: read when
somebody asks, and at most every few seconds.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterable

import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.broker.dead_letters import DeadLetterQueue
from app.broker.topology import QUEUES
from app.db import insist_on_writes
from app.errors import BrokerAway, ReadOnly
from app.health import OK, Probe
from app.jobs import CATALOG
from app.ledger.affinity import affinity_of
from app.ledger.contract import Catalog
from app.ledger.depth import Depth, read_depths
from app.ledger.standing import Standing, read_standing
from app.logs import cause
from app.metrics import declared
from app.metrics.declared import Metric
from app.settings import Settings
from app.storage import store_check

log = structlog.get_logger()

FRESH_SECONDS = 5.0
OTHER = "other"
"""A kind that is in no catalog."""


class Depths(Collector):
    """A collector of prometheus_client's. While ledger or broker is away its figures are missing, and not
    old; the time of the last reading stays. Any number of dispatchers show the same figures.
    """

    def __init__(self, settings: Settings, engine: Engine, catalog: Catalog = CATALOG) -> None:
        self._settings = settings
        self._engine = engine
        self._catalog = catalog
        self._affinity = affinity_of(settings, catalog)
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._broker: DeadLetterQueue | None = None
        self._ask_store = Probe(store_check(settings))
        self._depths: list[Depth] = []
        self._standing: Standing | None = None
        self._lengths: dict[str, tuple[int, int]] = {}
        self._successes: dict[str, float] = {}

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing is read when it is registered."""
        return ()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The figures, at most FRESH_SECONDS old."""
        with self._lock:
            if time.monotonic() - self._read_at >= FRESH_SECONDS:
                self._read()
                self._read_at = time.monotonic()
            return [*self._ledger(), *self._of_standing(), *self._of_broker(), self._when()]

    def close(self) -> None:
        """Leave the broker."""
        with self._lock:
            self._leave()

    def _read(self) -> None:
        self._depths, self._standing, self._lengths = [], None, {}
        try:
            with self._engine.connect() as tx:
                self._depths, self._standing = read_depths(tx), read_standing(tx)
                insist_on_writes(tx)
            self._successes["ledger"] = time.time()
        except (SQLAlchemyError, ReadOnly) as error:
            log.warning("depths.ledger_unread", error=cause(error))
        try:
            self._broker = self._broker or DeadLetterQueue(self._settings, self._affinity)
            self._lengths = {spec.name: self._length(self._broker, spec.name) for spec in QUEUES}
            self._successes["broker"] = time.time()
        except BrokerAway as away:
            log.warning("depths.broker_unread", error=cause(away))
            self._leave()
        answer = self._ask_store()
        if answer == OK:
            self._successes["store"] = time.time()
        else:
            log.warning("depths.store_unread", error=answer)

    def _length(self, broker: DeadLetterQueue, queue: str) -> tuple[int, int]:
        """With the messages of the queue's shards; the consumers are those of whichever has the fewest."""
        names = [queue, *(shard.name for shard in self._affinity.shards_of(queue))]
        lengths = [broker.length(name) for name in names]
        return sum(ready for ready, _ in lengths), min(taking for _, taking in lengths)

    def _ledger(self) -> Iterable[GaugeMetricFamily]:
        states = [
            (each.queue, state, number)
            for each in self._depths
            for state, number in (("queued", each.queued), ("running", each.running))
        ]
        yield _family(declared.QUEUE_DUE, [(each.queue, each.due) for each in self._depths])
        yield _family(declared.QUEUE_LATER, [(each.queue, each.later) for each in self._depths])
        yield _family(declared.QUEUE_IN_FLIGHT, states)
        ages = [(each.queue, each.oldest_seconds) for each in self._depths]
        yield _family(declared.QUEUE_OLDEST, ages)

    def _of_standing(self) -> Iterable[GaugeMetricFamily]:
        now = self._standing
        if now is None:
            return
        # A message may name any task: labels are what the code knows.
        dead: Counter[str] = Counter()
        for kind, letters in now.dead.items():
            dead[OTHER if kind is None or kind not in self._catalog else kind] += letters
        yield _family(declared.DEAD_LETTERS, list(dead.items()))
        yield _family(declared.DATABASE_CONNECTIONS, [(now.connections,)])
        yield _family(declared.DATABASE_CONNECTIONS_MAX, [(now.max_connections,)])
        yield _family(declared.DATABASE_OLDEST, [(now.oldest_transaction_seconds,)])

    def _of_broker(self) -> Iterable[GaugeMetricFamily]:
        lengths = self._lengths.items()
        yield _family(declared.QUEUE_READY, [(name, ready) for name, (ready, _) in lengths])
        yield _family(declared.QUEUE_CONSUMERS, [(name, taking) for name, (_, taking) in lengths])

    def _when(self) -> GaugeMetricFamily:
        return _family(declared.QUEUE_READ, list(self._successes.items()))

    def _leave(self) -> None:
        if self._broker is not None:
            self._broker.close()
            self._broker = None


def _family(metric: Metric, rows: Iterable[tuple[str | float, ...]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for *labels, value in rows:
        family.add_metric([str(label) for label in labels], float(value))
    return family
