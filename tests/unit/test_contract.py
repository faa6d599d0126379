"""What a job may declare about itself."""

from typing import ClassVar

import pytest
from pydantic import ValidationError

from app.ledger.contract import MAX_HARD_SECONDS, JobContract, JobSpec, catalog


class One(JobContract):
    spec: ClassVar[JobSpec] = JobSpec(kind="test.same")
    number: int = 0


class Two(JobContract):
    spec: ClassVar[JobSpec] = JobSpec(kind="test.same", version=2)


def test_two_contracts_of_one_kind_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"test\.same"):
        catalog((One, Two))


def test_the_catalog_is_by_kind_and_read_only() -> None:
    known = catalog((One,))
    assert dict(known) == {"test.same": One}
    with pytest.raises(TypeError):
        known["other"] = Two  # type: ignore[index]


@pytest.mark.parametrize(
    ("soft", "hard"), [(0, 10), (10, 10), (20, 10), (10, MAX_HARD_SECONDS + 1)]
)
def test_time_limits_that_make_no_sense_are_refused(soft: int, hard: int) -> None:
    with pytest.raises(ValueError, match="time limits"):
        JobSpec(kind="test.limits", soft_seconds=soft, hard_seconds=hard)


@pytest.mark.parametrize(("kind", "version"), [("", 1), ("test.version", 0)])
def test_a_job_needs_a_name_and_a_version(kind: str, version: int) -> None:
    with pytest.raises(ValueError, match="kind and a version"):
        JobSpec(kind=kind, version=version)


def test_a_payload_takes_no_field_that_it_does_not_know() -> None:
    with pytest.raises(ValidationError):
        One.model_validate({"number": 1, "other": 2})


def test_a_payload_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        One(number=1).number = 2  # type: ignore[misc]
