"""docs/metrics.md and infra/prometheus hold exactly what the code declares."""

import re
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from app.metrics.declared import ALL, Process, Type
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "infra" / "prometheus"
SERIES = {
    metric.name + ending
    for metric in ALL
    for ending in (("_bucket", "_sum", "_count") if metric.type is Type.HISTOGRAM else ("",))
}


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


@pytest.mark.parametrize("page", ["docs/metrics.md", "infra/prometheus/rules.yml"])
def test_no_other_metric_is_named(page: str) -> None:
    text = (ROOT / page).read_text()
    names = set(re.findall(r"\bmillrace_\w+", text)) - {"millrace_queue_"}
    families = {metric.name for metric in ALL}
    assert names <= SERIES | families, names - SERIES - families


def test_rules_use_labels_that_there_are_and_records_are_named_once() -> None:
    rules = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())
    records = [rule["record"] for group in rules["groups"] for rule in group["rules"]]
    assert len(set(records)) == len(records)
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert set(re.findall(r"`(millrace:[\w:]+)`", page)) == set(records)
    for group in rules["groups"]:
        for rule in group["rules"]:
            used = set(re.findall(r"millrace:[\w:]+", rule["expr"]))
            assert used <= set(records)


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
