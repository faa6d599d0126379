"""`millrace incidents` and `millrace jobs`: an operator over all tenants."""

from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.ids import new_id
from app.jobs import ReportDaily
from app.ledger.burial import Wire, bury_stray
from app.ledger.job_error import job_error
from tests.support.commands import Run
from tests.support.customers import Customer
from tests.support.deaths import dead, incident_of, letter_of
from tests.support.jobs import Note, add, assert_lawful, job_facts


def test_the_list_shows_incidents_over_all_tenants(
    run: Run, engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    dead(engine, tenant.id, Note(), "Row 1")
    dead(engine, stranger.id, Note(), "Row 2\x1b[31m of\nmany")
    report = dead(engine, tenant.id, ReportDaily(), "No mail server")
    said = run("incidents", "list")
    head, first, second = said.out.splitlines()
    assert head.split()[:6] == ["INCIDENT", "STATE", "SEEN", "OPEN", "TENANTS", "FIRST"]
    assert first.split()[1:5] == ["open", "1", "1", "1"]
    assert second.split()[1:5] == ["open", "2", "2", "2"]
    assert second.split(maxsplit=11)[-3:] == ["test.note", "broken", "Row 2\ufffd[31m of many"]
    (one,) = run("incidents", "list", "--kind", "report.daily", "--json").json
    assert one["id"] == str(incident_of(engine, report)["id"])
    assert run("incidents", "list", "--state", "ignored", "--json").json == []


def test_an_incident_is_shown_with_all_that_is_known(
    run: Run, engine: Engine, tenant: Customer
) -> None:
    job_id = dead(engine, tenant.id, Note())
    with engine.begin() as tx:
        tx.execute(
            text("UPDATE dead_letters SET body = 'as sent\x1b', x_death = :x"),
            {"x": '[{"reason": "delivery_limit"}]'},
        )
    incident = incident_of(engine, job_id)["id"]
    said = run("incidents", "show", incident)
    assert f"job {job_id} of tenant {tenant.id}" in said.out
    assert "Traceback: secret internals" in said.out
    assert "KeyError in app.place:act" in said.out
    assert 'x-death   [{"reason": "delivery_limit"}]' in said.out
    assert "body      as sent\ufffd" in said.out
    (letter,) = run("incidents", "show", incident, "--json").json["letters"]
    assert letter["error"]["traceback"] == "Traceback: secret internals"
    missing = run("incidents", "show", new_id())
    assert (missing.status, "There is no incident" in missing.err) == (1, True)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--all", "--kind", "report.daily"),
        ("--since", "yesterday"),
        ("--tenant", "nobody"),
        ("--rate", "0", "--all"),
    ],
)
def test_nothing_is_replayed_that_was_not_meant(
    run: Run, engine: Engine, tenant: Customer, words: tuple[str, ...]
) -> None:
    job_id = dead(engine, tenant.id, ReportDaily())
    said = run("incidents", "replay", *words)
    assert said.status != 0
    assert said.err
    assert job_facts(engine, job_id).state == "dead"


def test_dead_jobs_are_replayed_by_filter_after_a_dry_run(
    run: Run, engine: Engine, tenant: Customer, stranger: Customer
) -> None:
    ours = [dead(engine, tenant.id, ReportDaily()) for _ in range(3)]
    theirs = dead(engine, stranger.id, ReportDaily())
    unknown = dead(engine, tenant.id, Note())
    words = ("incidents", "replay", "--tenant", tenant.id, "--rate", "2")
    tried = run(*words, "--dry-run")
    assert tried.out.splitlines() == [
        "would replay 3 jobs (report.daily 3), over 1 s",
        f"skipped {unknown}: There is no kind 'test.note' any more.",
    ]
    assert {job_facts(engine, job_id).state for job_id in ours} == {"dead"}
    answer = run(*words, "--reason", "mended", "--json").json
    assert (answer["replayed"], answer["by_kind"]) == (3, {"report.daily": 3})
    assert {job_facts(engine, job_id).state for job_id in ours} == {"scheduled"}
    assert letter_of(engine, ours[0])["closed_reason"] == "mended"
    assert job_facts(engine, theirs).state == "dead"
    since = letter_of(engine, theirs)["last_failed_at"].isoformat()
    rest = run("incidents", "replay", "--since", since, "--kind", "report.daily", "--json")
    assert rest.json["replayed"] == 1
    assert_lawful(engine)


def test_a_discard_closes_letters_of_jobs_and_of_none(
    run: Run, engine: Engine, tenant: Customer
) -> None:
    job_id = dead(engine, tenant.id, Note())
    wire = Wire(key="one", queue=None, body="rubbish", headers={}, x_death=[])
    with engine.begin() as tx:
        error = job_error("undecodable", "The message is no task message.")
        bury_stray(tx, wire, kind=None, error=error, again=False)
    refused = run("incidents", "discard", "--all", "--reason", " x ")
    assert (refused.status, "--reason" in refused.err) == (1, True)
    words = ("incidents", "discard", "--all", "--reason", "a drill")
    assert run(*words, "--dry-run").out == "would discard 2 dead letters\n"
    assert letter_of(engine, job_id)["state"] == "open"
    done = run(*words, "--json").json
    assert done == {"dry_run": False, "discarded": 2, "more": False}
    assert letter_of(engine, job_id)["closed_reason"] == "a drill"
    assert_lawful(engine)


def test_incidents_are_resolved_and_ignored_with_a_note(
    run: Run, engine: Engine, tenant: Customer
) -> None:
    job_id = dead(engine, tenant.id, Note())
    incident = incident_of(engine, job_id)["id"]
    assert run("incidents", "resolve", incident, "--note", "mended").status == 0
    assert incident_of(engine, job_id)["state"] == "resolved"
    words = ("incidents", "ignore", incident, "--note", "their own server", "--days", "2")
    assert run(*words).out == f"{incident} is ignored for 2 days\n"
    assert incident_of(engine, job_id)["note"] == "their own server"
    assert run("incidents", "resolve", new_id(), "--note", "mended").status == 1


def test_one_job_is_shown_cancelled_and_retried(run: Run, engine: Engine, tenant: Customer) -> None:
    job_id: UUID = add(engine, tenant.id, Note(text="hello"))
    assert run("jobs", "cancel", job_id, "--reason", "a drill").status == 0
    said = run("jobs", "show", job_id)
    assert '"text": "hello"' in said.out
    assert "cancel  -> cancelled  attempt 0  cancelled: a drill" in said.out
    assert run("jobs", "show", job_id, "--json").json["state"] == "cancelled"
    refused = run("jobs", "retry", job_id)
    assert (refused.status, "is cancelled; only" in refused.err) == (1, True)
    gone = dead(engine, tenant.id, ReportDaily())
    assert "Traceback: secret internals" in run("jobs", "show", gone).out
    assert run("jobs", "retry", gone).out == f"{gone} runs again\n"
    assert job_facts(engine, gone).state == "scheduled"
    assert run("jobs", "show", new_id()).status == 1
