"""The locks: every file pinned with hashes, from no particular index, and all of one mind."""

import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "requirements"
FILES = sorted(FOLDER.glob("*.txt"))
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)


def pins(path: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, version in PIN.findall(path.read_text()):
        found.setdefault(name.lower(), set()).add(version)
    return found


def requirements(path: Path) -> list[str]:
    """Logical lines, comments left out."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip()]


def test_there_is_a_lock_for_each_image_and_one_for_all() -> None:
    images = {"flower", "web", "worker"}
    assert {path.stem for path in FILES} == images | {
        "bench",
        "bootstrap",
        "dev",
        "fuzz",
        "local-ai",
        "peers",
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_requirement_is_pinned_with_hashes(path: Path) -> None:
    lines = requirements(path)
    assert lines
    for line in lines:
        assert PIN.match(line), line
        assert "--hash=sha256:" in line, line


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_index_is_named(path: Path) -> None:
    text = path.read_text()
    assert "index-url" not in text
    assert "find-links" not in text
    assert "http://" not in text
    assert "https://" not in text


@pytest.mark.parametrize("stem", ["web", "worker", "flower"])
def test_what_an_image_runs_is_what_was_tested(stem: str) -> None:
    everything = pins(FOLDER / "dev.txt")
    different = {
        name: (versions, everything.get(name))
        for name, versions in pins(FOLDER / f"{stem}.txt").items()
        if versions != everything.get(name)
    }
    assert different == {}


@pytest.mark.parametrize("stem", ["local-ai", "peers"])
def test_what_joins_the_product_in_a_process_agrees_with_it(stem: str) -> None:
    everything, extra = pins(FOLDER / "dev.txt"), pins(FOLDER / f"{stem}.txt")
    different = {
        name: (versions, everything[name])
        for name, versions in extra.items()
        if name in everything and not versions <= everything[name]
    }
    assert different == {}


def test_what_node_needs_is_pinned_with_hashes_and_from_no_particular_registry() -> None:
    lock = json.loads((FOLDER / "peers" / "package-lock.json").read_text())
    wanted = json.loads((FOLDER / "peers" / "package.json").read_text())
    packages = {name: facts for name, facts in lock["packages"].items() if name}
    assert lock["packages"][""]["dependencies"] == wanted["dependencies"]
    assert packages
    for name, facts in packages.items():
        assert facts["integrity"].startswith("sha512-"), name
        assert "resolved" not in facts, name
