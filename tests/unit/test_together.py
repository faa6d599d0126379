"""Which jobs travel in one message."""

from typing import ClassVar

import pytest

from app.dispatcher import together
from app.ids import new_id
from app.ledger.contract import JobContract, JobSpec, catalog
from app.ledger.outbox import DueJob


class Alone(JobContract):
    spec: ClassVar[JobSpec] = JobSpec(kind="test.alone")


class Small(JobContract):
    spec: ClassVar[JobSpec] = JobSpec(kind="test.small", together=3)


KNOWN = catalog((Alone, Small))


def due(kind: str, *, version: int = 1, queue: str = "default") -> DueJob:
    return DueJob(
        id=new_id(),
        tenant_id=new_id(),
        kind=kind,
        version=version,
        attempt=0,
        queue=queue,
        traceparent=None,
    )


def test_at_most_so_many_as_the_contract_allows() -> None:
    jobs = [due("test.small") for _ in range(7)]
    assert together(jobs, KNOWN) == [jobs[:3], jobs[3:6], jobs[6:]]


def test_by_itself_where_the_contract_says_nothing_or_is_unknown() -> None:
    jobs = [due("test.alone"), due("test.alone"), due("test.gone"), due("test.gone")]
    assert together(jobs, KNOWN) == [[job] for job in jobs]


def test_only_the_same_kind_version_and_queue() -> None:
    small, other, older, urgent, second = jobs = [
        due("test.small"),
        due("test.alone"),
        due("test.small", version=0),
        due("test.small", queue="high"),
        due("test.small"),
    ]
    assert together(jobs, KNOWN) == [[small, second], [other], [older], [urgent]]


def test_a_contract_without_room_for_its_own_job_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        JobSpec(kind="test.none", together=0)
