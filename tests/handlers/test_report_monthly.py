"""The monthly report: the slot's month by the tenant's clock, a PDF that can be read, once."""

import io
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from pypdf import PdfReader
from sqlalchemy import Engine

from app.jobs import ReportMonthly
from app.keys import set_timezone
from app.reports.month import Month
from app.schedules.catch_up import CatchUp
from app.settings import Settings
from app.storage import Storage
from tests.support.clock import local, set_columns
from tests.support.customers import Customer
from tests.support.exports import export_row
from tests.support.imports import accepted_import, contacts, dispatch, run_imports
from tests.support.jobs import add_queued, job_facts, lose_worker
from tests.support.problems import assert_problem
from tests.support.runtime import Worker
from tests.support.schedules import add_schedule, change, fire, fired
from tests.support.servers import Servers
from tests.support.web import Web
from workers.runtime.executor import Disposition

ZONE = "America/New_York"


@pytest.fixture
def tenant(engine: Engine, tenant: Customer) -> Customer:
    with engine.begin() as tx:
        set_timezone(tx, tenant.id, ZONE)
    set_columns(engine, "tenants", tenant.id, name="Ζωή & Жук <Łódź>")
    return tenant


def ended_import(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, day: date, clock: str,
    *, filename: str = "people.csv", rows: int = 2,
) -> None:  # fmt: skip
    """An import with so many new contacts, all of it at that moment."""
    moment = local(day, clock, ZONE)
    lines = "".join(f"{moment:%m%d%H%M%S}-{n}@example.com\n" for n in range(rows))
    import_id = accepted_import(
        engine, storage, tenant.id, f"email\n{lines}nobody\n".encode(), filename=filename
    )
    before = {row["id"] for row in contacts(engine, tenant.id).values()}
    run_imports(worker, engine)
    set_columns(engine, "imports", import_id, finished_at=moment)
    for row in contacts(engine, tenant.id).values():
        if row["id"] not in before:
            set_columns(engine, "contacts", row["id"], created_at=moment)
    dispatch(engine)


def deliver(worker: Worker, engine: Engine, tenant: Customer, month: str | None = None) -> UUID:
    job_id = add_queued(engine, tenant.id, ReportMonthly(month=month))
    assert worker.deliver(job_id) is Disposition.ACKNOWLEDGE
    assert job_facts(engine, job_id).state == "succeeded"
    return job_id


def reports(web: Web, tenant: Customer) -> list[dict[str, object]]:
    with web.client(tenant.key) as client:
        items: list[dict[str, object]] = client.get(
            "/v1/exports", params={"target": "monthly_report"}
        ).json()["items"]
        return items


def opened(web: Web, tenant: Customer) -> PdfReader:
    """The newest report, fetched as a customer does."""
    with web.client(tenant.key) as client:
        answer = client.get(str(reports(web, tenant)[0]["download"]))
    assert answer.headers["content-type"] == "application/pdf"
    return PdfReader(io.BytesIO(answer.content))


def words(reader: PdfReader) -> str:
    return " ".join("\n".join(page.extract_text() for page in reader.pages).split())


def test_it_shows_the_month_from_midnight_to_midnight(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, web: Web, servers: Servers
) -> None:
    for day, clock in (
        (date(2026, 9, 30), "23:59:59"),
        (date(2026, 10, 1), "00:00:00"),
        (date(2026, 10, 31), "23:59:59"),
        (date(2026, 11, 1), "00:00:00"),
    ):
        ended_import(worker, engine, storage, tenant, day, clock)
    deliver(worker, engine, tenant, "2026-10")
    (shown,) = reports(web, tenant)
    assert (shown["format"], shown["wanted"], shown["rows"]) == ("pdf", {"month": "2026-10"}, 2)
    assert str(shown["filename"]).isascii()
    reader = opened(web, tenant)
    told = words(reader)
    assert "Ζωή & Жук <Łódź>" in told
    assert "October 2026, times in America/New_York" in told
    assert "Contacts 6 +4 in the month" in told
    assert "Imports 2 2 succeeded, 0 failed" in told
    assert "Rows inserted 4 of 6 rows" in told
    assert "Rows rejected 2 33.3% of all rows" in told
    assert "01 Oct 00:00 people.csv contacts succeeded 3 2 0 1" in told
    assert "Page 1 of 1" in told
    ((mail_job, kind),) = dispatch(engine)
    worker.deliver(mail_job)
    (mail,) = servers.system.mails(recipient=tenant.email)
    assert (kind, str(shown["download"]) in mail.text) == ("mail.report_ready", True)


def test_the_document_is_in_order(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, web: Web
) -> None:
    """Every font is embedded, it has a title and a language, and headers come again on each page."""
    for minute in range(12):
        name = f"{'a long name of a file ' * 9}{minute}.csv"
        ended_import(
            worker, engine, storage, tenant, date(2026, 10, 3), f"09:{minute:02d}:00", filename=name
        )
    deliver(worker, engine, tenant, "2026-10")
    reader = opened(web, tenant)
    assert len(reader.pages) > 1
    for number, page in enumerate(reader.pages, 1):
        assert f"Page {number} of {len(reader.pages)}" in page.extract_text()
        resources: Any = page["/Resources"]
        for reference in resources["/Font"].values():
            font = reference.get_object()
            assert "/FontFile2" in font["/FontDescriptor"], font["/BaseFont"]
    assert "Ended File Target Outcome" in words(reader).split("Page 1 of")[1]
    assert reader.metadata is not None
    assert reader.metadata.title == "Monthly activity report, October 2026"
    assert str(reader.root_object["/Lang"]) == "en"


def test_an_empty_month_has_a_report_that_says_so(
    worker: Worker, engine: Engine, tenant: Customer, web: Web
) -> None:
    deliver(worker, engine, tenant, "2026-02")
    told = words(opened(web, tenant))
    assert "No import ended in this month." in told
    assert "There were no contacts in this month." in told


@pytest.mark.parametrize("name", ["株式会社 山田", "שלום בע״מ", "مرحبا", "\U0001f600"])
def test_names_that_the_font_lacks_are_never_empty_boxes(
    engine: Engine, worker: Worker, tenant: Customer, web: Web, name: str
) -> None:
    set_columns(engine, "tenants", tenant.id, name=name)
    deliver(worker, engine, tenant, "2026-02")
    told = words(opened(web, tenant))
    assert tenant.email in told
    assert "characters that this report's fonts don't have" in told


def test_an_operators_font_adds_to_ours(worker: Worker, engine: Engine) -> None:
    """Any TrueType file will do; here one that has what ours hasn't."""
    import reportlab

    from app.reports.typeface import Typeface

    extra = Path(reportlab.__file__).parent / "fonts" / "Vera.ttf"
    assert Typeface(str(extra)).can_show("Größe")
    assert not Typeface().can_show("山")


def test_a_report_that_comes_late_is_still_its_own_slots(
    worker: Worker, engine: Engine, storage: Storage, tenant: Customer, web: Web
) -> None:
    """Fired after a downtime of months, each tells the month before its slot."""
    schedule = add_schedule(
        engine, tenant.id, cron="0 6 1 * *", job=ReportMonthly(), catch_up=CatchUp.ALL
    )
    with engine.begin() as tx:
        change(tx, schedule, next_at=local(date(2026, 10, 1), "06:00:00", ZONE))
    fire(engine)
    dispatch(engine)
    for job_id in fired(engine, schedule).values():
        worker.deliver(job_id)
    months = {str(shown["wanted"]) for shown in reports(web, tenant)}
    assert {"{'month': '2026-09'}", "{'month': '2026-10'}"} <= months


def test_the_month_is_the_tenants_own() -> None:
    """In New York it is still October when it is November in UTC."""
    moment = datetime(2026, 11, 1, 3, 59, tzinfo=UTC)
    assert Month.before(moment, ZoneInfo(ZONE)).name == "2026-09"
    assert Month.before(moment, ZoneInfo("UTC")).name == "2026-10"
    march = Month.named("2026-03", ZoneInfo(ZONE))
    assert march.end - march.begin == timedelta(days=31, hours=-1)


def test_a_second_attempt_makes_the_same_file_and_one_report(
    worker: Worker,
    engine: Engine,
    storage: Storage,
    tenant: Customer,
    web: Web,
    settings: Settings,
) -> None:
    ended_import(worker, engine, storage, tenant, date(2026, 10, 3), "12:00:00")
    job_id = deliver(worker, engine, tenant, "2026-10")
    lose_worker(engine, job_id)
    assert worker.deliver(job_id, redelivered=True) is Disposition.ACKNOWLEDGE
    first, second = (export_row(engine, UUID(str(each["id"]))) for each in reports(web, tenant))
    assert first["sha256"] == second["sha256"]


def test_a_month_that_is_not_over_is_told_so_far(
    worker: Worker, engine: Engine, tenant: Customer, web: Web
) -> None:
    now = datetime.now(ZoneInfo(ZONE))
    deliver(worker, engine, tenant, f"{now:%Y-%m}")
    assert f"{now:%B %Y} so far, times in" in words(opened(web, tenant))


def test_a_month_that_has_not_begun_is_refused(
    worker: Worker, engine: Engine, tenant: Customer, web: Web
) -> None:
    post = {"kind": "report.monthly", "payload": {"month": "2199-01"}}
    with web.client(tenant.key) as client:
        refused = client.post("/v1/jobs", json=post)
        assert_problem(refused, 422, "not_begun")
        assert "begins on 2199-01-01" in refused.json()["detail"]
        month = f"{datetime.now(UTC) + timedelta(days=80):%Y-%m}"
        later = {"kind": "report.monthly", "payload": {"month": month}}
        when = (datetime.now(UTC) + timedelta(days=90)).isoformat()
        assert client.post("/v1/jobs", json={**later, "run_at": when}).status_code == 202
    job_id = add_queued(engine, tenant.id, ReportMonthly(month="2199-01"))
    assert worker.deliver(job_id) is Disposition.DEAD_LETTER
    error = job_facts(engine, job_id).error or {}
    assert error["code"] == "not_begun"
    assert "January 2199 has not begun" in error["message"]


@pytest.mark.parametrize("month", ["2026-13", "2026-1", "1999-12", "2026-10-01", "x"])
def test_what_is_no_month_is_refused(web: Web, tenant: Customer, month: str) -> None:
    with web.client(tenant.key) as client:
        answer = client.post(
            "/v1/jobs", json={"kind": "report.monthly", "payload": {"month": month}}
        )
    assert answer.status_code == 422
