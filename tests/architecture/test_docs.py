"""The documentation names what is there."""

import re
from pathlib import Path

import pytest
import typer

from app import cli
from app.connections import CHILD, DISPATCHER, WORKER, Opens
from app.jobs import CATALOG
from app.settings import Settings
from tests.architecture.test_commands import commands

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
GUIDES = [page for page in PAGES if page.parent.name != "decisions" and page.name != "CHANGELOG.md"]
COMMANDS = dict(commands(typer.main.get_command(cli.app)))


def test_every_setting_is_explained_and_no_other() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    explained = set(re.findall(r"^\| `(MILLRACE_\w+)`", page, re.MULTILINE))
    assert explained == {f"MILLRACE_{name.upper()}" for name in Settings.model_fields}


def test_every_job_has_its_line_in_the_readme() -> None:
    page = (ROOT / "README.md").read_text()
    lines = dict(re.findall(r"^\| `([\w.]+)` \| (.*)$", page, re.MULTILINE))
    for kind, contract in CATALOG.items():
        spec = contract.spec
        queue, tries, limits, *_ = (cell.strip() for cell in lines[kind].split("|"))
        assert (queue, int(tries)) == (spec.queue.value, spec.retry.attempts)
        assert limits == f"{spec.soft_seconds} / {spec.hard_seconds} s"


@pytest.mark.parametrize(
    ("process", "opens"),
    [
        ("dispatcher", DISPATCHER),
        ("worker's main process", WORKER),
        ("each of its children", CHILD),
    ],
)
def test_the_plan_of_connections_is_the_codes(process: str, opens: Opens) -> None:
    page = (ROOT / "docs" / "doctor.md").read_text()
    row = rf"^\| {process} \| (\d+)(?: \(.*\))? \| (\d+) \| (\d+) \|$"
    (found,) = re.findall(row, page, re.MULTILINE)
    assert tuple(map(int, found)) == (opens.postgres, opens.listeners, opens.rabbitmq)


def places(page: Path) -> set[str]:
    """The headings, as links name them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    words = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", each).replace(" ", "-") for each in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, place in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text()):
        led_to = page.parent / target if target else page
        assert led_to.exists(), target
        assert not place or place in places(led_to), f"{target}#{place}"


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_commands_and_their_options_are_there(page: Path) -> None:
    text = page.read_text().replace("\\\n", " ")
    for line in re.findall(
        r"(?:`|bin/|^ *|exec \S+ )millrace ([a-z][^\n`#|]*)", text, re.MULTILINE
    ):
        words = line.split()
        if any(name.startswith(f"{words[0]} ") for name in COMMANDS):  # a group
            name = " ".join(words[:2])
            known = len(words) == 1 or words[1] == "--help" or name in COMMANDS
        else:
            name, known = words[0], words[0] in {*COMMANDS, "new-job"}
        assert known, line
        options = set(re.findall(r"(?<!\S)--[a-z0-9-]+", line)) - {"--help"}
        assert name not in COMMANDS or options <= COMMANDS[name], line
