"""What `enqueue` refuses before the database sees it."""

from datetime import UTC, datetime
from typing import ClassVar

import pytest

from app.api.job_request import JobRequest, new_job
from app.errors import Unprocessable
from app.ledger.concurrency import MAX_KEY_CHARS
from app.ledger.contract import MAX_PRIORITY, JobContract, JobSpec, catalog
from app.ledger.enqueue import NewJob
from tests.support.jobs import Note


class Near(JobContract):
    spec: ClassVar[JobSpec] = JobSpec(kind="test.near", affinity=True, public=True)


@pytest.mark.parametrize("key", ["", "a\0b", "\ud800", "\udfff tail"])
def test_keys_that_cannot_be_kept(key: str) -> None:
    with pytest.raises(ValueError, match="unique_key is text"):
        NewJob(job=Note(), unique_key=key)
    with pytest.raises(ValueError, match="concurrency_key is text"):
        NewJob(job=Note(), concurrency_key=key)


def test_a_unique_key_has_an_end_and_a_concurrency_key_a_digest() -> None:
    NewJob(job=Note(), unique_key="ü" * MAX_KEY_CHARS)
    with pytest.raises(ValueError, match="255 characters"):
        NewJob(job=Note(), unique_key="ü" * (MAX_KEY_CHARS + 1))
    NewJob(job=Note(), concurrency_key="ü" * 10_000)


@pytest.mark.parametrize("beyond", [MAX_PRIORITY + 1, -MAX_PRIORITY - 1, 40_000])
def test_a_priority_is_as_a_contract_s(beyond: int) -> None:
    for priority in (MAX_PRIORITY, -MAX_PRIORITY, 0):
        NewJob(job=Note(), priority=priority)
    with pytest.raises(ValueError, match="a priority is between"):
        NewJob(job=Note(), priority=beyond)


def test_a_shard_is_not_flooded_by_keys_of_one_s_own() -> None:
    """What a kind with affinity may have in its shard is bounded by the key that it has."""
    NewJob(job=Near())
    with pytest.raises(ValueError, match="leave out concurrency_key"):
        NewJob(job=Near(), concurrency_key="mine")
    asked = JobRequest(kind="test.near", payload={}, concurrency_key="mine")
    with pytest.raises(Unprocessable, match="Leave out 'concurrency_key'"):
        new_job(catalog((Near,)), asked, lambda: datetime.now(UTC))
