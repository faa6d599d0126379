"""docs/runbooks: a page for each alert, whose commands are commands and whose queries ask for what there is."""

import re
import shlex
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import typer
import typer.main
import yaml  # type: ignore[import-untyped]
from typer.core import TyperGroup

from app.cli import app

USAGE_ERROR = typer.BadParameter.__mro__[1]
"""Of the click that typer brings, which has no public name."""
ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "runbooks"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
ALERTS = [
    rule
    for group in yaml.safe_load((ROOT / "infra/prometheus/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
SERVICES = set(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"])
SOME_ID = str(UUID(int=1))
STAND_FOR = {
    "KIND": "report.daily",
    "QUEUE": "low",
    "TENANT": "acme",
    "INCIDENT": SOME_ID,
    "JOB": SOME_ID,
}


def commands(page: Path) -> list[str]:
    """The indented lines."""
    return re.findall(r"^ {4}(\S.*)$", page.read_text(), re.MULTILINE)


def parse(words: list[str]) -> None:
    """Whether the command line takes it; nothing is run. Raises USAGE_ERROR."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("millrace", words)
    while isinstance(command, TyperGroup):
        left = [*context._protected_args, *context.args]
        name, found, rest = command.resolve_command(context, left)
        assert found is not None
        command, context = found, found.make_context(name, rest, parent=context)


def test_there_is_a_page_for_each_alert_and_the_index_has_them_all() -> None:
    pages = {rule["annotations"]["runbook_url"]: rule["alert"] for rule in ALERTS}
    assert set(pages) == {str(page.relative_to(ROOT)) for page in PAGES}
    index = (FOLDER / "README.md").read_text()
    severity = {rule["alert"]: rule["labels"]["severity"] for rule in ALERTS}
    rows = re.findall(r"^\| \[(\w+)\]\(([\w.-]+)\) \| (\w+) \|", index, re.MULTILINE)
    assert {f"docs/runbooks/{file}": name for name, file, _ in rows} == pages
    assert {name: level for name, _, level in rows} == severity


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_the_query_the_causes_the_commands_and_the_end(page: Path) -> None:
    text = page.read_text()
    rule = next(one for one in ALERTS if one["annotations"]["runbook_url"].endswith(page.name))
    assert f"\n{rule['labels']['severity'].capitalize()}. " in text
    assert "**Whom it" in text
    for part in ("```promql\n", "## Likely causes\n", "## Commands\n", "## It is over\n"):
        assert part in text, part
    assert commands(page)


@pytest.mark.parametrize("page", [*PAGES, FOLDER / "README.md"], ids=lambda page: page.stem)
def test_its_commands_exist(page: Path) -> None:
    for line in commands(page):
        words = [STAND_FOR.get(word, word) for word in shlex.split(line)]
        match words:
            case ["millrace", *rest]:
                parse(rest)
            case ["docker", "compose", _verb, *rest]:
                named = {word for word in rest if not word.startswith("-")}
                named = {word.partition("=")[0] for word in named}
                assert named - {"10m", "15m"} <= SERVICES, line
            case ["rabbitmqctl" | "psql" | "df" | "docker", *_]:
                pass
            case _:
                pytest.fail(f"what is this? {line}")


def test_a_command_that_is_not_there_is_noticed() -> None:
    for wrong in (["queues", "puase", "low"], ["kinds", "limit", "report.daily", "--at-most", "1"]):
        with pytest.raises(USAGE_ERROR):
            parse(wrong)
