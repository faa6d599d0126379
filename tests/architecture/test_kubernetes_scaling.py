"""infra/k8s: pools scale by the policy's numbers, and the most that there may be fit the servers' connections."""

import configparser
import re
from math import ceil

import pytest

from app.broker.topology import Queue
from app.connections import RESERVED, SPARE
from app.exports.file_format import SHEET_ROWS, XLSX_MAX_ROWS
from app.scaling.policy import ScalingPolicy
from app.server_limits import plan_of, wanted_of_postgres
from tests.support.kustomize import Object
from tests.support.manifests import NAMES, OVERLAYS, named, of, settings_of
from workers.runtime.autoscaling import MESSAGES_PER_CHILD

POLICY = ScalingPolicy()
EXCEL_ROW_BYTES = 500
"""Of a contact in an Excel file that is being written: measured 471 with seven columns."""
KEY_BYTES = 16
"""Of a row in the keys of an import that don't fit in memory: its hash and its number."""


@pytest.mark.parametrize("queue", [queue.value for queue in Queue])
def test_the_triggers_are_the_policys_answers(queue: str) -> None:
    spec = named("production", "ScaledObject", f"worker-{queue}")["spec"]
    assert spec["scaleTargetRef"] == {"name": f"worker-{queue}"}
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (
        POLICY.min_replicas,
        POLICY.max_replicas,
    )
    assert spec["pollingInterval"] == POLICY.poll_seconds
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == POLICY.up_window_seconds
    down = (behavior["scaleDown"]["stabilizationWindowSeconds"], spec["cooldownPeriod"])
    assert down == (POLICY.down_window_seconds, POLICY.down_window_seconds)
    triggers = {one["name"]: one for one in spec["triggers"]}
    thresholds = {
        name: float(one["metadata"].get("threshold") or one["metadata"]["value"])
        for name, one in triggers.items()
    }
    assert thresholds == {
        "messages": POLICY.messages_per_replica,
        "backlog": POLICY.messages_per_replica,
        "rate": POLICY.workers_per_replica,
        "drain": POLICY.workers_per_replica,
        "lag": POLICY.max_lag_seconds,
    }
    assert POLICY.messages_per_replica == MESSAGES_PER_CHILD * POLICY.workers_per_replica
    assert settings_of("production").worker_concurrency == POLICY.workers_per_replica
    assert triggers["messages"]["metadata"]["queueName"] == queue
    assert f"/ {POLICY.target_utilisation}" in triggers["rate"]["metadata"]["query"]
    assert f"/ {POLICY.drain_seconds:g}, 1)" in triggers["drain"]["metadata"]["query"]
    for name in ("backlog", "rate", "drain", "lag"):
        asked = re.findall(r'queue="(\w+)"', triggers[name]["metadata"]["query"])
        assert set(asked) == {queue}
        assert triggers[name]["metadata"]["ignoreNullValues"] == "false", "missing isn't zero"


@pytest.mark.parametrize("overlay", NAMES)
def test_pools_follow_the_figures_of_their_own_environment(overlay: str) -> None:
    """One Prometheus may see staging and production."""
    (namespace,) = (one["metadata"]["name"] for one in of(overlay, "Namespace"))
    for one in of(overlay, "ScaledObject"):
        for trigger in one["spec"]["triggers"]:
            if trigger["type"] == "prometheus":
                query = trigger["metadata"]["query"]
                assert re.findall("'([^']*)'", query) == [namespace], trigger["name"]
                aggregations = re.findall(r"\b(?:sum|max)\s*(by \(namespace\))?\s*\(", query)
                assert set(aggregations) == {"by (namespace)"}, trigger["name"]


@pytest.mark.parametrize("queue", [queue.value for queue in Queue])
def test_what_a_pool_writes_for_a_while_fits_its_temporary_volume(queue: str) -> None:
    """Or the kubelet evicts the pod in the middle of it, and again after the next attempt."""
    spec = named("production", "Deployment", f"worker-{queue}")["spec"]["template"]["spec"]
    (volume,) = spec["volumes"]
    gib = float(volume["emptyDir"]["sizeLimit"].removesuffix("Gi"))
    excel = (XLSX_MAX_ROWS + SHEET_ROWS) * EXCEL_ROW_BYTES
    keys = settings_of("production").import_max_rows * KEY_BYTES
    assert gib * 1024**3 >= POLICY.workers_per_replica * max(excel, keys)


@pytest.mark.parametrize("overlay", NAMES)
def test_the_most_replicas_fit_the_connections(overlay: str) -> None:
    """MILLRACE_PROCESSES has everything that may run at once, during a roll-out too; PgBouncer takes all of its
    clients, and PostgreSQL all of PgBouncer's and of those that go past it.
    """
    settings = settings_of(overlay)
    planned = {pool.pool: pool for pool in settings.processes.workers}
    for queue in Queue:
        most = named(overlay, "ScaledObject", f"worker-{queue.value}")["spec"]["maxReplicaCount"]
        assert planned[queue].replicas >= at_once(
            named(overlay, "Deployment", f"worker-{queue.value}"), most
        )
        assert planned[queue].children == settings.worker_concurrency
    for name, number in (
        ("web", settings.processes.web),
        ("dispatcher", settings.processes.dispatchers),
    ):
        assert number >= at_once(named(overlay, "Deployment", name))
    pooler = named(overlay, "Deployment", "pgbouncer")
    ini = configparser.ConfigParser()
    ini.read_string(named(overlay, "ConfigMap", "pgbouncer")["data"]["pgbouncer.ini"])
    size = int(ini["pgbouncer"]["default_pool_size"])
    assert ini["pgbouncer"]["pool_mode"] == "transaction"
    assert settings.pooler_connections >= size * (pooler["spec"]["replicas"] + 1)
    plan = plan_of(settings)
    clients = sum(line.postgres - line.direct for line in plan)
    assert int(ini["pgbouncer"]["max_client_conn"]) >= clients, "one may have to take all"
    said = (OVERLAYS / overlay / "settings.env").read_text()
    (most_postgres,) = re.findall(r"max_connections: (\d+) at least", said)
    assert int(most_postgres) >= wanted_of_postgres(settings, plan) + RESERVED + SPARE
    children = sum(
        named(overlay, "ScaledObject", f"worker-{queue.value}")["spec"]["maxReplicaCount"]
        * settings.worker_concurrency
        for queue in Queue
    )
    assert size * pooler["spec"]["replicas"] >= children, (
        "or jobs wait for each other's connections"
    )


def at_once(one: Object, most: int | None = None) -> int:
    """How many of its pods there may be: those that end take their time, while their successors come ready."""
    spec = one["spec"]
    rolling = spec["strategy"]["rollingUpdate"]
    replicas = most or spec["replicas"]
    grace = spec["template"]["spec"]["terminationGracePeriodSeconds"]
    ending = ceil(grace / spec["minReadySeconds"]) * max(
        rolling["maxSurge"], rolling["maxUnavailable"]
    )
    return int(replicas + rolling["maxSurge"] + min(replicas, ending))
