"""`millrace schedules`, and the schedules that everyone gets."""

from typing import Any

import pytest
from sqlalchemy import Engine, text

from app.ids import SYSTEM_TENANT
from app.schedules.defaults import install_defaults
from app.schedules.store import delete, edit, find, page
from tests.support.commands import Run
from tests.support.customers import Customer, make_customer
from tests.support.jobs import count
from tests.support.schedules import KINDS


def shown(run: Run, *words: str) -> Any:
    return run(*words, "--json").json


def test_a_schedules_life_at_the_command_line(run: Run, engine: Engine, tenant: Customer) -> None:
    of = ("--tenant", str(tenant.id))
    words = ("weekly", "--kind", "report.daily", "--cron", "0 7 * * MON", *of)
    added = shown(run, "schedules", "add", *words, "--timezone", "Europe/Berlin")
    assert {run[10:16] for run in added["next_runs"]} == {"T07:00"}
    edited = shown(run, "schedules", "edit", "weekly", *of, "--timezone", "tenant")
    assert (edited["timezone"], edited["effective_timezone"]) == (None, "UTC")
    assert edited["cron"] == "0 7 * * MON"
    assert shown(run, "schedules", "pause", "weekly", *of)["next_runs"] == []
    assert shown(run, "schedules", "resume", "weekly", *of)["next_runs"]
    ran = shown(run, "schedules", "run", "weekly", *of)
    (listed,) = shown(run, "schedules", "list", *of)
    assert listed["last_run"] == {"job_id": ran["job_id"], "state": "scheduled"}
    table = run("schedules", "list").out.splitlines()
    assert [line.split()[0] for line in table] == ["TENANT", listed["tenant"]]
    assert run("schedules", "delete", "weekly", *of).status == 0
    assert shown(run, "schedules", "list") == []
    assert count(engine, "jobs") == 1


def test_an_operator_may_schedule_any_kind_for_the_product_itself(run: Run, engine: Engine) -> None:
    words = ("nightly", "--kind", "upkeep.clean_up", "--cron", "0 2 * * *", "--catch-up", "none")
    assert run("schedules", "add", *words).status == 0
    with engine.connect() as tx:
        (schedule,) = page(tx, SYSTEM_TENANT)
    assert (schedule.kind, schedule.catch_up.value) == ("upkeep.clean_up", "none")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("pause", "nothing"), "There is no schedule nothing"),
        (("add", "x", "--kind", "no.such", "--cron", "* * * * *"), "Use one of: "),
        (("add", "x", "--kind", "upkeep.clean_up", "--cron", "daily"), "five fields"),
        (
            ("add", "x", "--kind", "report.daily", "--cron", "* * * * *", "--payload", "[]"),
            "JSON object",
        ),
        (
            ("add", "x", "--kind", "report.daily", "--cron", "* * * * *", "--catch-up", "some"),
            "'none', 'last' or 'all'",
        ),
        (("list", "--tenant", "nobody"), "There is no tenant 'nobody'"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(
    run: Run, words: tuple[str, ...], says: str
) -> None:
    failed = run("schedules", *words)
    assert failed.status == 1
    assert says in failed.err
    assert len(failed.err.strip().splitlines()) == 1


def test_a_new_tenant_gets_its_daily_report_in_its_own_zone(run: Run, engine: Engine) -> None:
    words = ("acme", "--email", "ops@acme.com", "--timezone", "Asia/Kathmandu")
    created = run("tenants", "create", *words, "--trial-days", "14")
    assert created.status == 0, created.err
    (report,) = shown(run, "schedules", "list", "--tenant", "acme")
    assert (report["kind"], report["cron"]) == ("report.daily", "0 8 * * *")
    assert report["next_runs"][0].endswith("T08:00:00+05:45")
    moved = run("tenants", "timezone", "acme", "Europe/Lisbon")
    assert moved.status == 0, moved.err
    (report,) = shown(run, "schedules", "list", "--tenant", "acme")
    assert report["next_runs"][0][10:16] == "T08:00"
    assert report["effective_timezone"] == "Europe/Lisbon"
    with engine.connect() as tx:
        query = text("""
            SELECT plan, round(extract(epoch FROM trial_ends_at - clock_timestamp()) / 86400)
            FROM tenants WHERE name = 'acme'
        """)
        assert tuple(tx.execute(query).one()) == ("trial", 14)
    wrong = run("tenants", "timezone", "acme", "Lisbon")
    assert "time zone" in wrong.err


def test_migrating_installs_the_reference_schedules_and_leaves_changes_alone(
    run: Run, engine: Engine
) -> None:
    tenant = make_customer(engine)
    assert run("migrate").status == 0
    with engine.begin() as tx:
        found = {(each.tenant_id, each.kind): each.cron for each in page(tx, None)}
        assert found == {
            (tenant.id, "report.daily"): "0 8 * * *",
            (SYSTEM_TENANT, "trials.expire"): "0 */4 * * *",
            (SYSTEM_TENANT, "upkeep.clean_up"): "0 3 * * 0",
            (SYSTEM_TENANT, "report.monthly_run"): "0 6 1 * *",
        }
        delete(tx, tenant.id, find(tx, tenant.id, "daily report"), public_only=True)
        clean_up = find(tx, SYSTEM_TENANT, "clean-up")
        edit(tx, SYSTEM_TENANT, clean_up, KINDS, {"cron": "0 4 * * *"}, public_only=False)
    assert run("migrate").status == 0
    with engine.begin() as tx:
        assert install_defaults(tx) == 0
        left = {each.name: each.cron for each in page(tx, None)}
        paused = {each.name for each in page(tx, None) if each.paused_at}
    assert paused == {"monthly reports"}
    assert left == {
        "trial expiry": "0 */4 * * *",
        "clean-up": "0 4 * * *",
        "monthly reports": "0 6 1 * *",
    }


def test_what_was_deleted_is_not_installed_again(engine: Engine, tenant: Customer) -> None:
    with engine.begin() as tx:
        assert install_defaults(tx, tenant.id) == 1
        delete(tx, tenant.id, find(tx, tenant.id, "daily report"), public_only=True)
    with engine.begin() as tx:
        assert install_defaults(tx, tenant.id) == 0
        assert page(tx, tenant.id) == []
