"""What is said when a month's reports have been made."""

from sqlalchemy import Engine

from app.ids import SYSTEM_TENANT
from app.jobs import ReportMonthlyDone
from app.ledger.batches import Batch, enqueue_batch
from app.ledger.state import Event
from tests.support.flows import members, run
from tests.support.jobs import Note, add_queued
from tests.support.log_lines import log_lines
from tests.support.runtime import Worker
from workers.handlers import report_monthly_done


def test_it_says_how_many_were_made_and_how_many_were_not(worker: Worker, engine: Engine) -> None:
    with engine.begin() as tx:
        batch = enqueue_batch(tx, SYSTEM_TENANT, Batch(jobs=[Note(), Note(), Note()]))
    first, *others = members(engine, batch)
    run(engine, first, Event.DIE)
    for job_id in others:
        run(engine, job_id)
    job = ReportMonthlyDone(month="2026-10", batch_id=batch)
    with log_lines(report_monthly_done) as lines:
        worker.deliver(add_queued(engine, SYSTEM_TENANT, job))
    (told,) = [line for line in lines if line["event"] == "reports.monthly_run_ended"]
    assert (told["month"], told["state"], told["reports"]) == ("2026-10", "failed", 3)
    assert (told["succeeded"], told["dead"], told["cancelled"]) == (2, 1, 0)
