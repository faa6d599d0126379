"""What Prometheus would read from a process."""

from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from app.broker.topology import Queue
from app.ledger.backlog import measure_backlog
from app.ledger.outbox import READY
from tests.support.web import HOST, plain_client


class Samples:
    """Of one scrape. Raises ValueError where it isn't Prometheus's text format, or has a series twice."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                if key in self._found:
                    raise ValueError(f"twice: {key}")
                self._found[key] = sample.value

    def value(self, name: str, **labels: str) -> float:
        """Of exactly this series. Raises KeyError."""
        return self._found[name, frozenset(labels.items())]

    def has(self, name: str, **labels: str) -> bool:
        return (name, frozenset(labels.items())) in self._found

    def total(self, name: str, **labels: str) -> float:
        """Over all series that have at least these labels."""
        wanted = set(labels.items())
        return sum(
            value for (found, has), value in self._found.items() if found == name and wanted <= has
        )

    @property
    def keys(self) -> set[tuple[str, frozenset[tuple[str, str]]]]:
        return set(self._found)

    @property
    def rising(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """What must never fall: counters, and the parts of histograms."""
        ends = ("_total", "_count", "_sum", "_bucket")
        return {key: value for key, value in self._found.items() if key[0].endswith(ends)}


def scrape(port: int, *, token: str | None = None) -> Samples:
    """From a loopback port. Raises httpx's errors."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    with plain_client(f"http://{HOST}:{port}", headers=headers) as client:
        answer = client.get("/metrics")
    answer.raise_for_status()
    return Samples(answer.text)


def measure(engine: Engine) -> None:
    """As a dispatcher does: see what is due, and measure the backlog."""
    with engine.begin() as tx:
        tx.execute(READY, {"batch": 100, "half": 50})
        assert measure_backlog(tx, [queue.value for queue in Queue], seconds=0)
