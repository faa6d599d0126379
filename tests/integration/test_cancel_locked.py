"""A cancel against a handler that holds locks: an answer in time, never a 500, and one outcome."""

from concurrent.futures import ThreadPoolExecutor

import httpx
from sqlalchemy import Engine, text

from app.imports import lifecycle
from app.jobs import ImportPlan
from app.ledger import store
from app.ledger.state import Event
from app.ledger.store import Claimed
from app.storage import Storage
from tests.support.customers import Customer
from tests.support.imports import accepted_import, csv_bytes, dispatch, import_row
from tests.support.jobs import Note, assert_lawful, claim_now, job_facts, running
from tests.support.problems import assert_problem
from tests.support.servers import wait_for
from tests.support.web import Web

_WAITING = text("""
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'millrace-web'
      AND wait_event_type = 'Lock'
""")


def cancel_is_waiting(engine: Engine) -> bool:
    with engine.connect() as tx:
        return bool(tx.execute(_WAITING).scalar_one())


def planning(engine: Engine, storage: Storage, tenant: Customer) -> Claimed:
    """An import whose plan is running."""
    accepted_import(engine, storage, tenant.id, csv_bytes(["email"], ["a@example.com"]))
    ((job_id, _),) = dispatch(engine)
    with engine.begin() as tx:
        claimed = claim_now(tx, job_id)
    assert claimed is not None
    return claimed


def test_a_deadlock_with_the_handler_is_a_503_and_the_handler_goes_on(
    web: Web, api: httpx.Client, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    job = planning(engine, storage, tenant)
    import_id = ImportPlan.model_validate(job.payload).import_id
    with ThreadPoolExecutor(1) as pool, engine.begin() as handler:
        store.progress(handler, job, done=1)  # the job's row, which the cancel takes last
        cancel = pool.submit(api.post, f"/v1/jobs/{job.id}/cancel")
        wait_for(lambda: cancel_is_waiting(engine), what="the cancel's wait for the job's row")
        lifecycle.end(handler, import_id, status="succeeded")  # what the cancel holds already
        store.settle(handler, job, Event.SUCCEED)
    answer = cancel.result()
    assert_problem(answer, 503, "busy")
    assert answer.headers["retry-after"] == "1"
    assert job_facts(engine, job.id).state == "succeeded"
    assert import_row(engine, import_id)["status"] == "succeeded"
    assert_problem(api.post(f"/v1/jobs/{job.id}/cancel"), 409, "conflict")


def test_a_handler_that_ends_meanwhile_wins_and_its_import_too(
    api: httpx.Client, engine: Engine, storage: Storage, tenant: Customer
) -> None:
    job = planning(engine, storage, tenant)
    import_id = ImportPlan.model_validate(job.payload).import_id
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as handler:
            lifecycle.end(handler, import_id, status="succeeded")
            store.settle(handler, job, Event.SUCCEED)
            cancel = pool.submit(api.post, f"/v1/jobs/{job.id}/cancel")
            wait_for(lambda: cancel_is_waiting(engine), what="the cancel's wait")
        assert_problem(cancel.result(), 409, "conflict")
    assert import_row(engine, import_id)["status"] == "succeeded"
    assert_lawful(engine)


def test_a_handler_that_sits_on_its_job_makes_the_cancel_give_up_in_time(
    api: httpx.Client, engine: Engine, tenant: Customer
) -> None:
    job = running(engine, tenant.id, Note())
    with engine.begin() as handler:
        store.progress(handler, job, done=1)
        assert_problem(api.post(f"/v1/jobs/{job.id}/cancel"), 503, "busy")
    assert api.post(f"/v1/jobs/{job.id}/cancel").status_code == 202
    assert job_facts(engine, job.id).state == "cancelled"
