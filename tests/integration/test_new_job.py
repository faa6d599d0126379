"""`millrace new-job`, in a copy of this tree: what it writes passes at once, what it refuses leaves no trace."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.local.errors import BadOrder, LocalError
from infra.local.new_job import write
from infra.local.new_job.keys import Keys
from infra.local.new_job.order import make_order
from tests.architecture.test_structure import ROOT

PARTS = ("app", "workers", "infra", "tests", "bench", "docs", "requirements")
FILES = ("pyproject.toml", "README.md", "CHANGELOG.md", "docker-compose.yml", "Makefile")
LEFT_OUT = shutil.ignore_patterns(".*", "out")  # compiled modules come along: they save seconds


def copied(folder: Path, parts: tuple[str, ...] = PARTS) -> Path:
    for part in parts:
        shutil.copytree(ROOT / part, folder / part, ignore=LEFT_OUT)
    for file in (*FILES, *(path.name for path in ROOT.glob("Dockerfile*"))):
        shutil.copy2(ROOT / file, folder / file)
    for hidden in (".env.example", ".dockerignore", ".gitignore"):
        shutil.copy2(ROOT / hidden, folder / hidden)
    return folder


def run(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_what_it_writes_passes_lint_architecture_and_its_own_test(tmp_path: Path) -> None:
    root = copied(tmp_path)
    first = run(root, "infra.local", "new-job", "send_welcome", "--kind", "mail.greeting",
                "--queue", "high", "--field", "contact_id:uuid", "--field", "on:date",
                "--field", "loud:bool", "--affinity", "--unique-key", "contact_id",
                "--debounce", "30", "--debounce-max", "90")  # fmt: skip
    second = run(root, "infra.local", "new-job", "zebra_feed", "--field", "zebra_id:str",
                 "--concurrency-key", "zebra_id", "--in-order", "--unique-key", "zebra_id",
                 "--unique-for", "60", "--unique-until", "ended")  # fmt: skip
    for done in (first, second):
        assert done.returncode == 0, done.stderr
    assert "wrote tests/golden/mail.greeting/v1.json" in first.stdout
    write.write_job(root, make_order("zebra_wash", kind=None, queue="default", fields=[]))
    names = ("send_welcome", "zebra_feed", "zebra_wash")
    tests = [f"tests/handlers/test_{name}.py" for name in names]
    architecture = [
        f"tests/architecture/test_{name}.py" for name in ("structure", "docs", "contracts")
    ]
    done = run(root, "pytest", "-q", "-p", "no:cacheprovider", *tests, *architecture)
    assert done.returncode == 0, done.stdout[-4000:]
    for words in (("check",), ("format", "--check")):
        linted = run(root, "ruff", *words, "--no-cache", "app", "workers", "tests/handlers")
        assert linted.returncode == 0, linted.stdout


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return copied(tmp_path, ("app", "workers", "tests/handlers", "tests/golden"))


@pytest.mark.parametrize(
    ("name", "kind", "queue", "field", "says"),
    [
        ("SendWelcome", None, "default", None, "Use words like send_welcome"),
        ("send-welcome", None, "default", None, "Use words like send_welcome"),
        ("../../etc/passwd", None, "default", None, "is no name for a job"),
        ("2_fast", None, "default", None, "is no name for a job"),
        ("send__welcome", None, "default", None, "is no name for a job"),
        ("a" * 41, None, "default", None, "is no name for a job"),
        ("import", "a.b", "default", None, "means something to Python"),
        ("utils", "a.b", "default", None, "says nothing"),
        ("welcome", None, "default", None, "Give it: --kind mail.welcome"),
        ("retry_policy", None, "default", None, "a second RetryPolicy"),
        ("send_welcome", "Mail Welcome", "default", None, "is no kind"),
        ("send_welcome", 'a.b", evil="', "default", None, "is no kind"),
        ("send_welcome", None, "urgent", None, "one of high, default, low"),
        ("send_welcome", None, "default", "id", "Use NAME:TYPE"),
        ("send_welcome", None, "default", "id:blob", "Use NAME:TYPE"),
        ("send_welcome", None, "default", "class:str", "no name for a field"),
        ("send_welcome", None, "default", "copy:str", "no name for a field"),
    ],
)
def test_what_will_not_do_is_refused_before_anything_is_looked_at(
    name: str, kind: str | None, queue: str, field: str | None, says: str
) -> None:
    with pytest.raises(BadOrder, match=says):
        make_order(name, kind=kind, queue=queue, fields=[field] if field else [])


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"concurrency_key": "nothing"}, "no such field"),
        ({"unique_key": "nothing"}, "no such field"),
        ({"in_order": True}, "about a --concurrency-key"),
        ({"concurrency_limit": 2}, "about a --concurrency-key"),
        ({"concurrency_key": "day", "concurrency_limit": 0}, "between 1 and 100"),
        ({"concurrency_key": "day", "concurrency_limit": 2, "in_order": True}, "one at a time"),
        ({"concurrency_key": "day", "affinity": True}, "affinity goes with neither"),
        ({"unique_for": 5.0}, "about a --unique-key"),
        ({"unique_until": "ended"}, "about a --unique-key"),
        ({"debounce": 5.0}, "about a --unique-key"),
        ({"unique_key": "day", "unique_for": 0.0}, "more than 0"),
        ({"unique_key": "day", "unique_until": "never"}, "published, ended"),
        ({"unique_key": "day", "debounce_max": 5.0}, "about a --debounce"),
        ({"unique_key": "day", "debounce": 5.0, "debounce_max": 1.0}, "0 < seconds"),
        ({"unique_key": "day", "debounce": 5.0, "unique_for": 5.0}, "Leave out"),
    ],
)
def test_keys_that_the_contract_would_refuse_are_refused_at_once(
    keys: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadOrder, match=says):
        make_order("x_y", kind=None, queue="low", fields=["day:date"], keys=Keys(**keys))


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("report_daily", "report.other", r"app/jobs/report_daily\.py is there already"),
        ("report_weekly", "report.daily", r"tests/golden/report\.daily is there already"),
    ],
)
def test_what_is_there_is_not_overwritten(small: Path, name: str, kind: str, says: str) -> None:
    before = contents(small)
    with pytest.raises(BadOrder, match=says):
        write.write_job(small, make_order(name, kind=kind, queue="low", fields=[]))
    assert contents(small) == before


def test_a_kind_that_another_contract_has_is_refused(small: Path) -> None:
    shutil.rmtree(small / "tests/golden/report.daily")
    before = contents(small)
    with pytest.raises(BadOrder, match=r"app/jobs/report_daily\.py has the kind"):
        write.write_job(small, make_order("x_y", kind="report.daily", queue="low", fields=[]))
    assert contents(small) == before


def test_when_it_fails_half_way_everything_is_as_it_was(small: Path) -> None:
    (small / "app/jobs/broken.py").write_text("raise ImportError('broken')\n")
    listing = small / "app/jobs/__init__.py"
    listing.write_text(listing.read_text().replace('"""\n', '"""\nimport app.jobs.broken\n', 1))
    before = contents(small)
    with pytest.raises(LocalError, match="could not be recorded"):
        write.write_job(small, make_order("send_welcome", kind=None, queue="high", fields=[]))
    assert contents(small) == before


def test_a_tree_that_lists_its_jobs_otherwise_is_left_alone(small: Path) -> None:
    (small / "README.md").write_text("# Nothing\n")
    before = contents(small)
    with pytest.raises(BadOrder, match=r"README\.md has no table"):
        write.write_job(small, make_order("send_welcome", kind=None, queue="high", fields=[]))
    assert contents(small) == before
