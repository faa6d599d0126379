"""infra/prometheus, by Prometheus's own tool: the files are well formed, and each alert fires and clears when it should."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from infra.local import LocalError
from infra.local.prometheus import ensure_prometheus

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "infra" / "prometheus"
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
WHERE = "{{ with $labels.namespace }}{{ . }}: {{ end }}"


@pytest.fixture(scope="module")
def promtool() -> Path:
    try:
        return ensure_prometheus(lambda _line: None)[1]
    except LocalError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


def run(promtool: Path, *words: str) -> None:
    done = subprocess.run(
        [str(promtool), *words], cwd=FOLDER, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_and_its_rules_are_well_formed(promtool: Path) -> None:
    run(promtool, "check", "config", "prometheus.yml")


def test_each_alert_fires_when_it_should_and_clears(promtool: Path) -> None:
    run(promtool, "test", "rules", "alerts_test.yml")


def test_each_alert_has_a_test() -> None:
    tests = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    asked = {
        labels.split('alertname="')[1].split('"')[0]
        for test in tests
        for one in test["promql_expr_test"]
        for labels in (sample["labels"] for sample in one.get("exp_samples", ()))
        if "alertname=" in labels
    }
    assert asked == set(ALERTS)


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_each_alert_says_how_bad_it_is_and_where_to_read_on(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"].startswith(WHERE)
    assert rule["for"], "one bad sample is no reason to call anybody"
    page = ROOT / rule["annotations"]["runbook_url"]
    assert page.read_text().startswith(f"# {name}\n")


def test_alertmanager_names_alerts_and_severities_that_there_are() -> None:
    facts = yaml.safe_load((FOLDER / "alertmanager.yml").read_text())
    matchers = [
        matcher
        for rule in facts["inhibit_rules"]
        for matcher in (*rule["source_matchers"], *rule["target_matchers"])
    ]
    for matcher in matchers:
        pattern = re.fullmatch(r'alertname=~?"(.*)"', matcher)
        assert pattern, matcher
        matched = {name for name in ALERTS if re.fullmatch(pattern[1], name)}
        assert len(matched) == pattern[1].count("|") + 1, matcher
    assert "namespace" in facts["route"]["group_by"]
    assert all("namespace" in rule["equal"] for rule in facts["inhibit_rules"])
    routed = {matcher for route in facts["route"]["routes"] for matcher in route["matchers"]}
    severities = {rule["labels"]["severity"] for rule in ALERTS.values()}
    assert routed == {f'severity="{severity}"' for severity in severities}
