"""The campaign of incidents against what it tries: every alert has its fault, every command is the runbook's."""

import ast
import subprocess
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from infra.local.layout import ROOT
from tests.incidents import jobs, servers
from tests.incidents.incident import INCIDENTS
from tests.incidents.scaled import FACTOR, write_scaled
from tests.unit.test_prometheus import ALERTS, promtool

__all__ = ["promtool"]
MODULES = (jobs, servers)


def test_every_alert_has_a_fault_that_raises_it() -> None:
    assert {name for one in INCIDENTS.values() for name, _ in one.awaited} == set(ALERTS)
    for one in INCIDENTS.values():
        page = ALERTS[one.alert]["annotations"]["runbook_url"]
        assert page == f"docs/runbooks/{one.page}.md", one.name


def test_the_incidents_page_tells_of_all_of_them() -> None:
    page = (ROOT / "docs" / "incidents.md").read_text()
    for one in INCIDENTS.values():
        assert f"| {one.name} |" in page, one.name
        assert one.fault in page, one.name


@pytest.mark.parametrize("name", sorted(INCIDENTS))
def test_what_ends_it_stands_in_the_runbook(name: str) -> None:
    one = INCIDENTS[name]
    page = (ROOT / "docs" / "runbooks" / f"{one.page}.md").read_text()
    lines = commands(one.course.__name__)
    assert lines
    for line in lines:
        assert f"    {line}\n" in page, line


def commands(course: str) -> list[str]:
    """The first argument of each `stage.do` in the function of that name."""
    trees = (ast.parse(Path(str(module.__file__)).read_text()) for module in MODULES)
    (function,) = (
        node
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == course
    )
    return [
        str(ast.literal_eval(call.args[0]))
        for call in ast.walk(function)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "do"
    ]


def test_scaled_rules_are_the_same_rules_in_less_time(promtool: Path, tmp_path: Path) -> None:
    paths = write_scaled(tmp_path)
    done = subprocess.run(
        [str(promtool), "check", "rules", *paths], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    alerts = yaml.safe_load((tmp_path / "alerts.yml").read_text())
    found = {rule["alert"]: rule for group in alerts["groups"] for rule in group["rules"]}
    assert found.keys() == ALERTS.keys()
    lag = found["MillraceQueueLag"]
    assert (lag["for"], "[30000ms]" in lag["expr"]) == (f"{600_000 // FACTOR}ms", True)
