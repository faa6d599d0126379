"""infra/k8s/roll-out.sh: what it asks of kubectl, in which order; a failed migration ends it.

There is no cluster here. `kubectl` is a program of the test's that notes what it was asked for and answers as a cluster
would; tests/architecture/test_kubernetes.py looks at what is applied.
"""

import subprocess
from pathlib import Path

import pytest

from tests.support.manifests import BUILT, of

ROOT = Path(__file__).resolve().parents[2]
KUBECTL = """#!/bin/sh
echo "$*" >> {asked}
case "$*" in *"condition={other} "*|{missing}) exit 1 ;; esac
"""


def roll_out(
    folder: Path, environment: str, *, migration: str, runs: bool = True
) -> tuple[int, list[str], str]:
    """Status, what was asked for, and what was said; the migration is `complete` or `failed`. `runs`: a version
    before is there.
    """
    asked = folder / "asked"
    asked.touch()
    other = {"complete": "failed", "failed": "complete"}[migration]
    program = folder / "kubectl"
    missing = "nothing" if runs else '*"get deployment"*'
    program.write_text(KUBECTL.format(asked=asked, other=other, missing=missing))
    program.chmod(0o755)
    done = subprocess.run(
        [ROOT / "infra" / "k8s" / "roll-out.sh", environment],
        env={"PATH": f"{folder}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    return done.returncode, asked.read_text().splitlines(), done.stderr


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_workers_follow_the_migration_and_the_others_them(tmp_path: Path, environment: str) -> None:
    status, asked, _ = roll_out(tmp_path, environment, migration="complete")
    assert status == 0
    inside = f"--namespace millrace-{environment} "
    overlay = f"apply --kustomize {ROOT}/infra/k8s/overlays/{environment}"
    assert asked[:5] == [
        f"{inside}delete job migrate --ignore-not-found",
        f"{overlay} --selector millrace.example/first=yes",
        f"{inside}wait --for=condition=complete --timeout=5s job/migrate",
        f"{inside}get deployment web",
        f"{overlay} --selector millrace.example/pool",
    ]
    rest = asked.index(overlay)
    assert waited_for(asked[5:rest]) == workers()
    assert waited_for(asked[rest:]) == deployments()


def test_the_first_time_everything_follows_the_migration(tmp_path: Path) -> None:
    """Workers alone would never be ready: the pooler that they reach PostgreSQL by isn't there yet."""
    status, asked, _ = roll_out(tmp_path, "production", migration="complete", runs=False)
    assert status == 0
    assert not any("millrace.example/pool" in line for line in asked)
    assert waited_for(asked) == deployments()


def waited_for(asked: list[str]) -> set[str]:
    return {line.split("deployment/")[1].split()[0] for line in asked if "rollout status" in line}


def workers() -> set[str]:
    """What the label selects, and nothing else has it."""
    labelled = [
        one
        for one in BUILT["production"]
        if "millrace.example/pool" in one["metadata"].get("labels", {})
    ]
    assert {one["kind"] for one in labelled} == {"Deployment"}
    return {one["metadata"]["name"] for one in labelled}


def deployments() -> set[str]:
    return {one["metadata"]["name"] for one in of("production", "Deployment")}


def test_after_a_failed_migration_nothing_is_rolled_out(tmp_path: Path) -> None:
    status, asked, said = roll_out(tmp_path, "production", migration="failed")
    assert status == 1
    assert "nothing was rolled out" in said
    assert [line for line in asked if line.startswith("apply")] == [asked[1]]
    assert asked[1].endswith("--selector millrace.example/first=yes")
    assert not any("rollout" in line for line in asked)


def test_an_environment_that_is_not_there_is_refused(tmp_path: Path) -> None:
    status, asked, _ = roll_out(tmp_path, "prodution", migration="complete")
    assert (status, asked) == (2, [])
