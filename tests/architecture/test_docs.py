"""The documentation names what is there."""

import re
from pathlib import Path

import pytest

from app.connections import CHILD, DISPATCHER, WORKER, Opens
from app.jobs import CATALOG
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
