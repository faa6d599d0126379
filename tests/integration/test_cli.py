"""`millrace`, as an operator runs it: a process, its output, its exit status."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.broker.topology import definitions

MILLRACE = Path(sys.executable).with_name("millrace")


def _run(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if "MILLRACE" not in name}
    return subprocess.run(
        [MILLRACE, *words],
        env={**clean, **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_tenant_and_its_key(environment: dict[str, str]) -> None:
    created = _run(environment, "tenants", "create", "acme", "--email", "Ops@Acme.com", "--json")
    tenant = json.loads(created.stdout)
    again = _run(
        environment,
        "tenants",
        "create",
        "acme",
        "--email",
        "ops@acme.com",
        "--if-missing",
        "--json",
    )
    made = _run(environment, "keys", "create", "acme", "--json")
    key = json.loads(made.stdout)
    revoked = _run(environment, "keys", "revoke", key["id"])
    twice = _run(environment, "keys", "revoke", key["id"])

    assert tenant["name"] == "acme"
    assert json.loads(again.stdout) == tenant
    assert key["key"].startswith("mr_")
    assert revoked.returncode == 0
    assert (twice.returncode, twice.stderr.startswith("millrace: There is no key")) == (1, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("tenants", "create", "acme", "--email", "nobody"), "is no e-mail address"),
        (("keys", "create", "nobody"), "There is no tenant 'nobody'"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(
    environment: dict[str, str], words: tuple[str, ...], says: str
) -> None:
    failed = _run(environment, *words)
    assert failed.returncode == 1
    assert says in failed.stderr
    assert len(failed.stderr.strip().splitlines()) == 1


def test_a_taken_name_is_refused(environment: dict[str, str]) -> None:
    words = ("tenants", "create", "acme", "--email", "ops@acme.com")
    assert _run(environment, *words).returncode == 0
    assert "already" in _run(environment, *words).stderr


def test_missing_settings_are_named() -> None:
    failed = _run({}, "migrate")
    assert failed.returncode == 1
    assert "MILLRACE_DATABASE_URL" in failed.stderr


def test_a_database_that_is_away_is_one_line(environment: dict[str, str]) -> None:
    nowhere = "postgresql://nobody:secret-word@127.0.0.1:1/none"
    failed = _run({**environment, "MILLRACE_DATABASE_URL": nowhere}, "keys", "create", "acme")
    assert failed.returncode == 1
    assert "database doesn't answer" in failed.stderr
    assert "secret-word" not in failed.stderr + failed.stdout


def test_the_definitions_file_is_exported(tmp_path: Path) -> None:
    out = tmp_path / "definitions.json"
    assert _run({}, "topology", "export", "--out", str(out)).returncode == 0
    assert json.loads(out.read_text()) == definitions()


def test_the_topology_can_be_declared_again_and_again(environment: dict[str, str]) -> None:
    for _ in range(2):
        declared = _run(environment, "topology", "declare")
        assert declared.returncode == 0, declared.stderr
        assert "high, default, low, dead" in declared.stdout


def test_the_bucket_is_made_once(environment: dict[str, str]) -> None:
    for _ in range(2):
        assert _run(environment, "storage", "init").returncode == 0
