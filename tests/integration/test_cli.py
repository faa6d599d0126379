"""`millrace`, as an operator runs it: a process, its output, its exit status."""

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.broker.topology import definitions
from app.jobs import ReportDaily
from app.ledger.rules import Scope, set_limits
from tests.support.commands import Run, run_process
from tests.support.customers import Customer
from tests.support.deaths import dead
from tests.support.jobs import Note, add, add_queued
from tests.support.metrics import measure


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


def test_keys_are_listed_and_none_of_them_is_shown(run: Run, tenant: Customer) -> None:
    mine = run("keys", "create", str(tenant.id), "--name", "ci", "--json").json
    operators = run("keys", "create", "--role", "viewer", "--name", "on call", "--json").json
    assert run("keys", "revoke", mine["id"]).status == 0

    def listed(*words: str) -> dict[str, dict[str, object]]:
        return {one["id"]: one for one in run("keys", "list", *words, "--json").json}

    assert operators["id"] in listed()
    assert mine["id"] not in listed()
    found = listed(str(tenant.id), "--revoked")
    assert operators["id"] not in found
    assert (found[mine["id"]]["name"], found[mine["id"]]["role"]) == ("ci", "tenant")
    assert found[mine["id"]]["revoked_at"]
    shown = run("keys", "list", "--revoked").out
    assert operators["id"] in shown
    assert operators["key"] not in shown
    assert mine["key"] not in shown


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("tenants", "create", "acme", "--email", "nobody"), "is no e-mail address"),
        (("tenants", "create", "", "--email", "a@example.com"), "is no name for a tenant"),
        (("tenants", "create", "a\nb", "--email", "a@example.com"), "is no name for a tenant"),
        (("tenants", "create", "0" * 32, "--email", "a@example.com"), "is an id"),
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


def test_jobs_of_all_tenants_are_listed_and_chosen(
    run: Run, engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    ours = add(engine, tenant.id, Note())
    theirs = dead(engine, stranger.id, ReportDaily(), "No mail\x1b[31m server")
    assert [job["id"] for job in run("jobs", "list", "--json").json] == [str(theirs), str(ours)]
    (job,) = run("jobs", "list", "--state", "dead", "--kind", "report.daily", "--json").json
    assert {name: job[name] for name in ("tenant_id", "queue", "state")} == {
        "tenant_id": str(stranger.id),
        "queue": "low",
        "state": "dead",
    }
    assert set(job["error"]) == {"code", "message", "type"}, "no traceback"
    head, line = run("jobs", "list", "--tenant", stranger.id).out.splitlines()
    assert head.split()[:4] == ["JOB", "STATE", "KIND", "QUEUE"]
    assert "No mail\ufffd[31m server" in line
    assert run("jobs", "list", "--limit", "1", "--queue", "default", "--json").json[0]["id"] == str(
        ours
    )
    assert run("jobs", "list", "--state", "lost").status == 2
    assert run("jobs", "list", "--tenant", "nobody").status == 1


def test_the_limit_of_a_kind_that_is_gone_can_go(run: Run, engine: Engine) -> None:
    """It would have every dispatcher count what is in flight, for nothing."""
    with engine.begin() as tx:
        set_limits(tx, Scope.KIND, "gone.kind", max_running=3, weight=None)
    assert run("kinds", "limit", "gone.kind", "--at-once", "2").status == 1
    assert run("kinds", "limit", "gone.kind").status == 0
    assert run("queues", "rules", "--json").json == []
    refused = run("kinds", "limit", "gone.kind")
    assert (refused.status, "There is no kind 'gone.kind'" in refused.err) == (1, True)


def test_queues_and_tenants_are_listed(run: Run, engine: Engine, tenant: Customer) -> None:
    add(engine, tenant.id, Note())
    add_queued(engine, tenant.id, Note())
    measure(engine)
    paused = run("queues", "pause", "low", "--reason", "a drill", "--json").json
    assert paused == {"scope": "queue", "name": "low", "paused": True, "reason": "a drill"}
    high, default, low = run("queues", "list", "--json").json
    assert [each["queue"] for each in (high, default, low)] == ["high", "default", "low"]
    assert (default["due"], default["queued"], default["paused_at"]) == (1, 1, None)
    assert (low["paused_reason"], high["due"], high["oldest_seconds"]) == ("a drill", 0, 0)
    assert run("queues", "list").out.splitlines()[3].endswith("a drill")
    assert run("queues", "resume", "low", "--json").json["paused"] is False
    for scope, name in (("kinds", "report.daily"), ("tenants", tenant.id)):
        assert run(scope, "pause", name, "--reason", "a drill", "--json").json["paused"] is True
        assert run(scope, "resume", name, "--json").json["paused"] is False
    (one,) = run("tenants", "list", "--json").json
    assert (one["id"], one["plan"]) == (str(tenant.id), "active")
    assert str(tenant.id) in run("tenants", "list").out


def test_a_database_of_another_version_is_named(run: Run, engine: Engine) -> None:
    with engine.begin() as tx:
        tx.exec_driver_sql("DROP TABLE dispatch_rules")
    failed = run("queues", "pause", "low")
    assert (failed.status, "Run `millrace migrate`" in failed.err) == (1, True)


@pytest.mark.parametrize(
    ("broken", "words", "says"),
    [
        (
            {"DATABASE_URL": "psql:secret-word"},
            ("queues", "list"),
            "MILLRACE_DATABASE_URL is no URL",
        ),
        (
            {"DATABASE_URL": "ftp://secret-word@h/d"},
            ("queues", "list"),
            "MILLRACE_DATABASE_URL is no URL",
        ),
        ({"BROKER_URL": "amqp://me:secret-word@127.0.0.1:1/v"}, ("topology", "declare"), "broker"),
        ({"S3_BUCKET": "no/bucket"}, ("storage", "init"), "The object store didn't do it"),
    ],
)
def test_whatever_fails_is_one_line_without_secrets(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    broken: dict[str, str],
    words: tuple[str, ...],
    says: str,
) -> None:
    for name, value in broken.items():
        monkeypatch.setenv(f"MILLRACE_{name}", value)
    failed = run(*words)
    assert failed.status == 1
    assert says in failed.err
    assert len(failed.err.strip().splitlines()) == 1, failed.err
    assert "secret-word" not in failed.err + failed.out
