"""`millrace`, as an operator runs it: a process, its output, its exit status."""

import json
from pathlib import Path

import pytest

from app.broker.topology import definitions
from tests.support.commands import Run, run_process


def test_a_tenant_and_its_key(run: Run) -> None:
    created = run("tenants", "create", "acme", "--email", "Ops@Acme.com", "--json")
    tenant = json.loads(created.out)
    again = run(
        "tenants",
        "create",
        "acme",
        "--email",
        "ops@acme.com",
        "--if-missing",
        "--json",
    )
    made = run("keys", "create", "acme", "--json")
    key = json.loads(made.out)
    revoked = run("keys", "revoke", key["id"])
    twice = run("keys", "revoke", key["id"])

    assert tenant["name"] == "acme"
    assert json.loads(again.out) == tenant
    assert key["key"].startswith("mr_")
    assert revoked.status == 0
    assert (twice.status, twice.err.startswith("millrace: There is no key")) == (1, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("tenants", "create", "acme", "--email", "nobody"), "is no e-mail address"),
        (("keys", "create", "nobody"), "There is no tenant 'nobody'"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(
    run: Run, words: tuple[str, ...], says: str
) -> None:
    failed = run(*words)
    assert failed.status == 1
    assert says in failed.err
    assert len(failed.err.strip().splitlines()) == 1


def test_a_taken_name_is_refused(run: Run) -> None:
    words = ("tenants", "create", "acme", "--email", "ops@acme.com")
    assert run(*words).status == 0
    assert "already" in run(*words).err


def test_missing_settings_are_named() -> None:
    failed = run_process({}, "migrate")
    assert failed.status == 1
    assert "MILLRACE_DATABASE_URL" in failed.err


def test_a_database_that_is_away_is_one_line(environment: dict[str, str]) -> None:
    nowhere = "postgresql://nobody:secret-word@127.0.0.1:1/none"
    failed = run_process(
        {**environment, "MILLRACE_DATABASE_URL": nowhere}, "keys", "create", "acme"
    )
    assert failed.status == 1
    assert "database doesn't answer" in failed.err
    assert "secret-word" not in failed.err + failed.out


def test_the_definitions_file_is_exported(tmp_path: Path) -> None:
    out = tmp_path / "definitions.json"
    assert run_process({}, "topology", "export", "--out", str(out)).status == 0
    assert json.loads(out.read_text()) == definitions()


def test_the_topology_can_be_declared_again_and_again(run: Run) -> None:
    for _ in range(2):
        declared = run("topology", "declare")
        assert declared.status == 0, declared.err
        assert "high, default, low, dead" in declared.out


def test_the_bucket_is_made_once(run: Run) -> None:
    for _ in range(2):
        assert run("storage", "init").status == 0
