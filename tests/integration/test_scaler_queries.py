"""KEDA's triggers for a pool, asked of a real Prometheus: together they want what the scaling policy wants."""

import os
import subprocess
from math import ceil
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client import CollectorRegistry, Counter, Gauge, Summary, start_http_server

from app.metrics import declared
from app.scaling.policy import ScalingPolicy, Seen, wanted
from infra.local import LocalError
from infra.local.ports import LOOPBACK, choose_ports
from infra.local.prometheus import configuration, ensure_prometheus, program
from tests.incidents.watching import Watcher
from tests.support.manifests import named
from tests.support.servers import wait_for

QUEUE = "default"
NAMESPACE, OTHER = "millrace-production", "millrace-staging"
MINE = f'queue="{QUEUE}",namespace="{NAMESPACE}"'
ARRIVED = f"sum(rate(millrace_dispatched_jobs_total{{{MINE}}}[5m]))"
LOOK = f"max(millrace_queue_due_jobs{{{MINE}}}) + max(millrace_queue_oldest_age_seconds{{{MINE}}})"
RAN = f"sum(rate(millrace_job_run_seconds_sum{{{MINE}}}[5m]))"
ATTEMPTS, SECONDS, LONG_SECONDS = 100, 40.0, 2000.0
MOMENTS = [(0, 0, 0, 2), (950, 60, 10, 4), (10, 0, 45, 6), (10, 0, 3000, 6), (90_000, 0, 5, 9)]
"""Due, queued, seconds that the oldest waits, replicas."""
PAUSED = (5000, 0, 0, 2)


class Shown:
    """What dispatcher and workers would show of the queue."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(metric: declared.Metric) -> Gauge:
            return Gauge(metric.name, metric.help, metric.labels, registry=registry)

        self.due = gauge(declared.QUEUE_DUE).labels(QUEUE)
        self.queued = gauge(declared.QUEUE_IN_FLIGHT).labels(QUEUE, "queued")
        self.oldest = gauge(declared.QUEUE_OLDEST).labels(QUEUE)
        one, run = declared.DISPATCHED, declared.RUN_SECONDS
        self.dispatched = Counter(one.name, one.help, one.labels, registry=registry).labels(QUEUE)
        # A summary has the two series of a histogram that are asked for.
        self.run = Summary(run.name, run.help, run.labels, registry=registry).labels("kind", QUEUE)

    def set(self, due: int, queued: int, oldest: int) -> None:
        self.due.set(due)
        self.queued.set(queued)
        self.oldest.set(oldest)


def triggers() -> dict[str, tuple[str, str, float]]:
    """Name -> query, type and threshold."""
    spec = named("production", "ScaledObject", f"worker-{QUEUE}")["spec"]
    return {
        one["name"]: (
            one["metadata"]["query"],
            one["metricType"],
            float(one["metadata"]["threshold"]),
        )
        for one in spec["triggers"]
        if one["type"] == "prometheus"
    }


def value_of(watcher: Watcher, query: str) -> float | None:
    """What KEDA would get; None where there is nothing."""
    found = watcher.query(query)
    return float(found[0]["value"][1]) if found else None


def autoscaled(watcher: Watcher, replicas: int, policy: ScalingPolicy) -> int:
    """As the HorizontalPodAutoscaler reckons, before any window."""
    answers = [policy.min_replicas]
    for query, kind, threshold in triggers().values():
        value = value_of(watcher, query)
        assert value is not None, query
        answers.append(ceil(value / threshold * (replicas if kind == "Value" else 1) - 1e-9))
    return min(max(answers), policy.max_replicas)


@pytest.fixture
def server() -> Path:
    try:
        return ensure_prometheus(lambda _line: None)[0]
    except LocalError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


def test_the_triggers_want_what_the_policy_wants(server: Path, tmp_path: Path) -> None:
    names = ["shown", "other", "prometheus"]
    ports = choose_ports(names, tmp_path / "ports.json", seed=str(tmp_path))
    registry, flooded = CollectorRegistry(), CollectorRegistry()
    shown = Shown(registry)
    Shown(flooded).set(
        due=1_000_000, queued=1000, oldest=90_000
    )  # another environment, not ours to serve
    made = configuration(
        {"shown": [ports["shown"]], "other": [ports["other"]]}, rules=(), seconds=0.2
    )
    for job, namespace in zip(made["scrape_configs"], (NAMESPACE, OTHER), strict=True):
        job["static_configs"][0]["labels"] = {"namespace": namespace}
    config = tmp_path / "prometheus.yml"
    config.write_text(yaml.safe_dump(made))
    run = program(server, config=config, data=tmp_path / "data", port=ports["prometheus"])
    served = [
        start_http_server(ports[name], addr=LOOPBACK, registry=each)
        for name, each in (("shown", registry), ("other", flooded))
    ]
    process = subprocess.Popen(run.command, stderr=subprocess.DEVNULL)
    watcher = Watcher(ports["prometheus"])
    try:
        wait_for(run.ready, seconds=30, what="Prometheus")
        _compare(watcher, shown)
    finally:
        watcher.close()
        process.terminate()
        process.wait(20)
        for http, thread in served:
            http.shutdown()
            http.server_close()
            thread.join(5)


def _compare(watcher: Watcher, shown: Shown) -> None:
    policy = ScalingPolicy()
    # No duration is known yet: that isn't unknown.
    flood = f'max(millrace_queue_due_jobs{{namespace="{OTHER}"}})'
    wait_for(lambda: value_of(watcher, flood) == 1_000_000, what="the other environment")
    rate, _, _ = triggers()["rate"]
    wait_for(lambda: value_of(watcher, rate) == 0, what="two looks, which make a rate")
    shown.dispatched.inc(3000)
    for _ in range(ATTEMPTS):
        shown.run.observe(SECONDS / ATTEMPTS)
    wait_for(lambda: (value_of(watcher, ARRIVED) or 0) > 1, what="arrivals")
    _agree(watcher, shown, policy, mean=SECONDS / ATTEMPTS)
    before = value_of(watcher, RAN) or 0
    shown.run.observe(LONG_SECONDS)
    wait_for(
        lambda: (value_of(watcher, RAN) or 0) > before * 2,
        what="a job that is longer than `drain_seconds`",
    )
    _agree(watcher, shown, policy, mean=(SECONDS + LONG_SECONDS) / (ATTEMPTS + 1))
    for name, (query, _, _) in triggers().items():
        unseen = query.replace(f'queue="{QUEUE}"', 'queue="low"')
        assert value_of(watcher, unseen) is None, f"{name}: what is missing isn't zero"


def _agree(watcher: Watcher, shown: Shown, policy: ScalingPolicy, *, mean: float) -> None:
    for due, queued, oldest, replicas in [*MOMENTS, PAUSED]:
        shown.set(due, queued, oldest)
        wait_for(lambda total=due + oldest: value_of(watcher, LOOK) == total)  # type: ignore[misc]
        seen = Seen(
            backlog=due + queued if oldest else 0,
            oldest_seconds=oldest,
            arrival_rate=value_of(watcher, ARRIVED) or 0,
            mean_seconds=mean,
            replicas=replicas,
        )
        asked = autoscaled(watcher, replicas, policy)
        assert abs(asked - wanted(seen, policy, now=0).replicas) <= 1, (due, queued, oldest)
