"""docs/metrics.md, infra/prometheus, infra/grafana, infra/k8s and the runbooks hold exactly what the code declares."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from app.broker.topology import DEAD_LETTER_QUEUE, Queue
from app.jobs import CATALOG
from app.metrics.declared import ALL, Metric, Process, Type
from app.settings import Settings
from tests.support import promql
from workers.runtime.metering import OUTCOMES, ROW_RESULTS

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "infra" / "prometheus"
RULES: list[dict[str, Any]] = [
    rule
    for name in ("limits", "rules", "alerts")
    for group in yaml.safe_load((PROMETHEUS / f"{name}.yml").read_text())["groups"]
    for rule in group["rules"]
]
RECORDS = {rule["record"] for rule in RULES if "record" in rule}
SERIES: dict[str, Metric] = {
    metric.name + ending: metric
    for metric in ALL
    for ending in (("_bucket", "_sum", "_count") if metric.type is Type.HISTOGRAM else ("",))
}
ENVIRONMENT = "namespace"
SCRAPED = {"job", "instance", ENVIRONMENT}
"""What Prometheus itself adds; the environment where there are several: docs/deploy-with-kubernetes.md."""
LIMITS = {name for name in RECORDS if "_limit:" in name}
"""For all environments."""
DASHBOARDS = {
    path.stem: json.loads(path.read_text())
    for path in sorted((ROOT / "infra" / "grafana" / "dashboards").glob("*.json"))
}
OTHERS: dict[str, set[str]] = {
    "up": set(),
    "ALERTS": {"alertname", "alertstate", "severity"},
    # prometheus_client's, of every process of ours
    "process_resident_memory_bytes": set(),
    "process_cpu_seconds_total": set(),
    "process_open_fds": set(),
    "process_start_time_seconds": set(),
    # RabbitMQ's plugin rabbitmq_prometheus
    "rabbitmq_alarms_free_disk_space_watermark": set(),
    "rabbitmq_alarms_memory_used_watermark": set(),
    "rabbitmq_disk_space_available_bytes": set(),
    "rabbitmq_disk_space_available_limit_bytes": set(),
    "rabbitmq_process_resident_memory_bytes": set(),
    "rabbitmq_resident_memory_limit_bytes": set(),
    "rabbitmq_connections": set(),
    "rabbitmq_channels": set(),
}
"""Series that aren't ours, with their labels. tests/incidents sees them in a real Prometheus."""


def expressions() -> Iterator[tuple[str, str]]:
    """Where it stands, and what is asked for."""
    for rule in RULES:
        yield rule.get("alert") or rule["record"], rule["expr"]
    for name, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                yield f"{name}: {panel['title']}", target["expr"]
    for page in sorted((ROOT / "docs" / "runbooks").glob("*.md")):
        for block in re.findall(r"```promql\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.splitlines():
                yield page.stem, line


def scalers() -> Iterator[tuple[str, str]]:
    """The same, of KEDA's triggers."""
    for path in sorted((ROOT / "infra" / "k8s" / "base").glob("worker-*.yaml")):
        for one in yaml.safe_load_all(path.read_text()):
            for trigger in one["spec"].get("triggers", ()):
                if trigger["type"] == "prometheus":
                    yield f"{path.stem}: {trigger['name']}", trigger["metadata"]["query"]


EXPRESSIONS = [*expressions(), *scalers()]


def labels_of(name: str) -> set[str]:
    """Of a series of ours, a record or somebody else's; a record may have those of what it is made of."""
    if name in SERIES:
        bucket = {"le"} if name.endswith("_bucket") else set()
        return {*SERIES[name].labels, *SCRAPED, *bucket}
    if name in RECORDS:
        made = [rule for rule in RULES if rule.get("record") == name]
        own = {label for rule in made for label in rule.get("labels", ())}
        own |= {label for rule in made for label in promql.grouping_labels(rule["expr"])}
        of_others = {each for rule in made for each in promql.series(rule["expr"]) & RECORDS}
        return own.union(*(labels_of(each) for each in of_others))
    return OTHERS.get(name, set()) | SCRAPED


def test_the_page_lists_every_metric_as_it_is_declared() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    lines = re.findall(r"^\| `(millrace_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", page, re.MULTILINE)
    told = {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels)), meaning)
        for name, kind, labels, meaning in lines
        if kind in set(Type)
    }
    declared = {
        metric.name: (metric.type.value, metric.labels, f"{metric.process.value}: {metric.help}")
        for metric in ALL
    }
    assert told == declared


@pytest.mark.parametrize("page", ["docs/metrics.md", "docs/alerts.md"])
def test_pages_name_no_other_metric(page: str) -> None:
    names = set(re.findall(r"\bmillrace_\w+", (ROOT / page).read_text())) - {"millrace_queue_"}
    families = {metric.name for metric in ALL}
    assert names <= set(SERIES) | families, names - set(SERIES) - families


def test_records_are_named_once_and_explained() -> None:
    records = [(rule["record"], str(rule.get("labels"))) for rule in RULES if "record" in rule]
    assert len(set(records)) == len(records)
    pages = "".join((ROOT / "docs" / page).read_text() for page in ("metrics.md", "alerts.md"))
    assert set(re.findall(r"`(millrace:[\w:]+)`", pages)) == RECORDS


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_expressions_ask_for_series_and_labels_that_there_are(where: str, expression: str) -> None:
    """In rules, alerts, dashboards, scalers and runbooks."""
    asked = promql.series(expression)
    known = {*SERIES, *RECORDS, *OTHERS}
    assert asked <= known, asked - known
    labels = {label for name in asked for label in labels_of(name)}
    assert promql.grouping_labels(expression) <= labels, where
    for metric, label, _ in promql.matchers(expression):
        assert label in labels_of(metric), (where, metric, label)


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_expressions_keep_environments_apart(where: str, expression: str) -> None:
    """Whatever is added up, compared or joined is of one environment; limits are for all of them."""
    if where in LIMITS:
        assert re.fullmatch(r"vector\([\d.]+\)", expression)
    elif where == "millrace:environment:known":
        known, nameless = expression.split(" or ")
        assert not promql.loses(known, ENVIRONMENT)
        assert nameless == "on () vector(1)"
    else:
        assert not promql.loses(expression, ENVIRONMENT, everywhere=LIMITS), where


def test_an_expression_that_mixes_environments_is_noticed() -> None:
    for wrong in (
        "sum(up)",
        "max by (queue) (up)",
        'sum(up{a="by (namespace)"})',
        "sum without (job) (up)",
        "absent(up == 1)",
        "up > ignoring (job) up",
        "up and on (job) up",
        "up and on () up",
        "up > scalar(up)",
    ):
        assert promql.loses(wrong, ENVIRONMENT, everywhere=LIMITS), wrong
    for right in (
        "topk by (namespace, job) (3, up > on (queue) group_left millrace:lag_limit:seconds)",
        "group by (namespace) (up) unless on (namespace, job) up  # count",
    ):
        assert not promql.loses(right, ENVIRONMENT, everywhere=LIMITS), right


def test_no_rule_sets_the_environment() -> None:
    assert not [rule for rule in RULES if ENVIRONMENT in rule.get("labels", {})]


@pytest.mark.parametrize("name", sorted(DASHBOARDS))
def test_a_dashboard_shows_the_environments_that_are_chosen_and_names_them(name: str) -> None:
    """All is also those without a name."""
    dashboard = DASHBOARDS[name]
    chosen = f'{ENVIRONMENT}=~"${ENVIRONMENT}"'
    variables = dashboard["templating"]["list"]
    first = variables[0]
    assert first["name"] == ENVIRONMENT
    assert first["query"]["query"] == f"label_values(millrace:environment:known, {ENVIRONMENT})"
    assert (first["multi"], first["includeAll"], first["allValue"]) == (True, True, ".*")
    assert first["current"]["value"] == ["$__all"]
    queries = [each["query"]["query"] for each in variables[1:]]
    asked = [query.removeprefix("label_values(").rpartition(",")[0] for query in queries]
    asked += [each["expr"] for each in dashboard["annotations"]["list"]]
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            asked.append(target["expr"])
            assert panel["type"] == "table" or f"{{{{{ENVIRONMENT}}}}}" in target["legendFormat"]
    assert asked
    for expression in asked:
        assert not promql.unmatched(expression, chosen), expression


def test_values_of_labels_are_those_of_the_code() -> None:
    """Where they are few and known: outcomes, queues, chores, sources, jobs of Prometheus's."""
    scraped = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    known = {
        "outcome": set(OUTCOMES),
        "state": {"queued", "running"},
        "source": {"ledger", "broker", "store"},
        "queue": {queue.value for queue in Queue} | {DEAD_LETTER_QUEUE},
        "result": set(ROW_RESULTS),
        "job": {config["job_name"] for config in scraped},
    }
    for where, expression in EXPRESSIONS:
        for metric, label, value in promql.matchers(expression):
            if label in known and "$" not in value:
                assert set(value.split("|")) <= known[label], (where, metric, label, value)
    limits = [
        rule.get("labels", {})
        for rule in RULES
        if ":limit" in rule.get("record", "") or "_limit:" in rule.get("record", "")
    ]
    listed = (ROOT / "app" / "housekeeping" / "all_chores.py").read_text()
    chores = set(re.findall(r'Chore\(name="(\w+)"', listed))
    assert {one["chore"] for one in limits if "chore" in one} == chores
    assert {one["kind"] for one in limits if "kind" in one} <= set(CATALOG)
    for record in ("lag", "age", "drain"):
        queues = {
            rule["labels"]["queue"]
            for rule in RULES
            if rule.get("record") == f"millrace:{record}_limit:seconds"
        }
        assert queues == {queue.value for queue in Queue}


def test_an_expression_that_is_wrong_is_noticed() -> None:
    wrong = 'sum by (quue) (rate(millrace_job_attempts_totl{outcome="done"}[5m])) > on (queue) up'
    assert promql.series(wrong) == {"millrace_job_attempts_totl", "up"}
    assert promql.grouping_labels(wrong) == {"quue", "queue"}
    assert list(promql.matchers(wrong)) == [("millrace_job_attempts_totl", "outcome", "done")]


def test_prometheus_scrapes_every_process_where_it_listens() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    scraped = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    found = {
        name: found["port"]
        for config in scraped
        for found in config.get("dns_sd_configs", [])
        for name in found["names"]
    }
    workers = [name for name in compose["services"] if name.startswith("worker-")]
    environment = compose["services"]["dispatcher"]["environment"]
    port = int(re.findall(r":-(\d+)", environment["MILLRACE_METRICS_PORT"])[0])
    assert found == {"web": 8000, "dispatcher": port, **dict.fromkeys(workers, port)}
    assert environment["MILLRACE_METRICS_HOST"] == "0.0.0.0"  # noqa: S104 - in the stack's network


def test_metrics_are_off_and_on_loopback_unless_somebody_says_so() -> None:
    assert Settings.model_fields["metrics_port"].default == 0
    assert Settings.model_fields["metrics_host"].default == "127.0.0.1"


def test_every_process_has_some() -> None:
    assert {metric.process for metric in ALL} == set(Process)
