"""What a refused request must look like, and what it must not leave."""

import httpx
from sqlalchemy import Engine

from app.storage import Storage
from tests.support.jobs import count

TABLES = ("imports", "jobs", "outbox", "job_history", "idempotency_keys", "contacts")


def assert_problem(answer: httpx.Response, status: int, code: str) -> None:
    """RFC 9457, with a stable type and a sentence that says what to do."""
    assert (answer.status_code, answer.text[:400]) == (status, answer.text[:400])
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"urn:millrace:problem:{code}"
    assert problem["status"] == status
    assert problem["title"]
    assert len(problem["detail"]) > 5
    if status in {429, 503}:
        assert int(answer.headers["retry-after"]) > 0


def assert_nothing_left(engine: Engine, storage: Storage) -> None:
    """No row, no object, no open multipart upload."""
    assert {table: count(engine, table) for table in TABLES} == dict.fromkeys(TABLES, 0)
    assert storage.keys() == []
    assert storage.open_uploads() == []
