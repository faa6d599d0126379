"""The daily report: the tenant's own day by its own clock, once, and nothing when nothing happened."""

from datetime import date, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine

from app.jobs import ReportDaily
from app.keys import set_timezone
from app.storage import Storage
from tests.support.clock import local, set_columns, today
from tests.support.customers import Customer
from tests.support.imports import accepted_import, contacts, dispatch
from tests.support.jobs import Note, add, add_queued, count, job_facts, lose_worker, running
from tests.support.runtime import Worker
from tests.support.schedules import add_schedule, change, fire, fired
from tests.support.servers import Servers
from workers.runtime.executor import Disposition

ZONE = "Asia/Kathmandu"


@pytest.fixture
def tenant(engine: Engine, tenant: Customer) -> Customer:
    """Five hours and three quarters ahead of the database."""
    with engine.begin() as tx:
        set_timezone(tx, tenant.id, ZONE)
    return tenant


def ended_import(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, day: date, clock: str
) -> UUID:
    """An import with two new contacts and a rejected row, all of it at that moment."""
    number = count(engine, "imports")
    data = f"email\na{number}@example.com\nb{number}@example.com\nnobody\n".encode()
    import_id = accepted_import(engine, storage, tenant.id, data)
    for _ in range(2):
        for job_id, kind in dispatch(engine):
            worker.deliver(job_id)
            set_columns(engine, "jobs", job_id, finished_at=local(day, clock, ZONE))
            assert kind.startswith("import.")
    set_columns(engine, "imports", import_id, finished_at=local(day, clock, ZONE))
    for contact in contacts(engine, tenant.id).values():
        if contact["email"][1] == str(number):
            moment = local(day, clock, ZONE)
            set_columns(engine, "contacts", contact["id"], created_at=moment)
    dispatch(engine)
    return import_id


def deliver(worker: Worker, engine: Engine, tenant: Customer, day: date | None = None) -> UUID:
    job_id = add_queued(engine, tenant.id, ReportDaily(day=day))
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    assert job_facts(engine, job_id).state == "succeeded"
    return job_id


def figures(text: str) -> dict[str, int]:
    lines = (line for line in text.splitlines() if line.startswith("  ") and ":" not in line)
    return {line[:16].strip(): int(line[16:]) for line in lines}


def test_it_tells_yesterday_from_midnight_to_midnight(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, servers: Servers
) -> None:
    now = today(engine, ZONE)
    yesterday, before = now - timedelta(days=1), now - timedelta(days=2)
    for day, clock in (
        (before, "23:59:59"),
        (yesterday, "00:00:00"),
        (yesterday, "23:59:59"),
        (now, "00:00:00"),
    ):
        ended_import(worker, engine, storage, tenant, day, clock)
    dead = add(engine, tenant.id, Note())
    moment = local(yesterday, "12:00:00", ZONE)
    set_columns(engine, "jobs", dead, state="dead", finished_at=moment)
    deliver(worker, engine, tenant)
    (mail,) = servers.system.mails(recipient=tenant.email)
    assert mail.subject == f"Daily report: {yesterday.isoformat()}"
    assert figures(mail.text) == {
        "imports": 2,
        "new contacts": 4,
        "jobs finished": 4,
        "jobs dead": 1,
    }
    assert mail.text.count("people.csv: succeeded, 3 rows, 2 inserted, 0 updated, 1 rejected") == 2
    assert ZONE in mail.text


def test_a_day_on_which_nothing_happened_has_no_report(
    worker: Worker, engine: Engine, tenant: Customer, servers: Servers
) -> None:
    """Yesterday's report is no activity, or else there would be one for ever."""
    report = running(engine, tenant.id, ReportDaily())
    yesterday = today(engine, ZONE) - timedelta(days=1)
    moment = local(yesterday, "08:00:00", ZONE)
    set_columns(engine, "jobs", report.id, state="succeeded", finished_at=moment)
    deliver(worker, engine, tenant)
    assert servers.system.mails(recipient=tenant.email) == []


def test_another_tenants_day_is_not_told(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    stranger: Customer,
    servers: Servers,
) -> None:
    yesterday = today(engine, ZONE) - timedelta(days=1)
    ended_import(worker, engine, storage, tenant, yesterday, "12:00:00")
    deliver(worker, engine, stranger, yesterday)
    assert servers.system.mails(recipient=stranger.email) == []


def test_a_day_may_be_asked_for(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, servers: Servers
) -> None:
    ended_import(worker, engine, storage, tenant, date(2026, 1, 2), "12:00:00")
    deliver(worker, engine, tenant, date(2026, 1, 2))
    deliver(worker, engine, tenant, date(2026, 1, 3))
    (mail,) = servers.system.mails(recipient=tenant.email)
    assert mail.subject == "Daily report: 2026-01-02"


def test_a_report_that_comes_late_is_still_its_own_slots(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, servers: Servers
) -> None:
    """Fired after a downtime of days, it tells the day before its slot."""
    day = today(engine, ZONE) - timedelta(days=4)
    ended_import(worker, engine, storage, tenant, day, "12:00:00")
    from app.schedules.catch_up import CatchUp

    schedule = add_schedule(
        engine, tenant.id, cron="0 8 * * *", job=ReportDaily(), catch_up=CatchUp.ALL
    )
    slot = local(day + timedelta(days=1), "08:00:00", ZONE)
    with engine.begin() as tx:
        change(tx, schedule, next_at=slot)
    fire(engine)
    dispatch(engine)
    for job_id in fired(engine, schedule).values():
        worker.deliver(job_id)
    (mail,) = servers.system.mails(recipient=tenant.email)
    assert mail.subject == f"Daily report: {day.isoformat()}"


def test_many_imports_are_cut_short(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    servers: Servers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from app.reports import daily

    monkeypatch.setattr(daily, "MAX_LISTED", 1)
    yesterday = today(engine, ZONE) - timedelta(days=1)
    for clock in ("10:00:00", "11:00:00", "12:00:00"):
        ended_import(worker, engine, storage, tenant, yesterday, clock)
    deliver(worker, engine, tenant)
    (mail,) = servers.system.mails(recipient=tenant.email)
    assert mail.text.count("people.csv") == 1
    assert "and 2 more" in mail.text


def test_it_is_sent_once(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, servers: Servers
) -> None:
    """A worker that is lost after the mail: the next attempt knows of it."""
    yesterday = today(engine, ZONE) - timedelta(days=1)
    ended_import(worker, engine, storage, tenant, yesterday, "12:00:00")
    job_id = deliver(worker, engine, tenant)
    lose_worker(engine, job_id)
    assert worker.deliver(job_id, redelivered=True) is Disposition.ACKNOWLEDGE
    assert job_facts(engine, job_id).state == "succeeded"
    assert len(servers.system.mails(recipient=tenant.email)) == 1
