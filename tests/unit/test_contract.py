"""What a job may declare about itself."""

from typing import ClassVar

import pytest
from pydantic import ValidationError

from app.ledger.concurrency import MAX_CONCURRENCY, Concurrency, kept
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


class Keyed(JobContract):
    spec: ClassVar[JobSpec] = JobSpec(kind="test.keyed", concurrency=Concurrency(key="account"))
    account: str | None = None


class Misspelt(JobContract):
    spec: ClassVar[JobSpec] = JobSpec(kind="test.misspelt", concurrency=Concurrency(key="acount"))
    account: str


def test_a_concurrency_key_is_a_field_or_what_a_function_says() -> None:
    of_a_field = Concurrency(key="account")
    assert of_a_field.key_of("test.keyed", Keyed(account="7")) == "test.keyed:account=7"
    assert of_a_field.key_of("test.keyed", Keyed()) is None
    shared = Concurrency(key=lambda job: f"account {job.account}")
    assert shared.key_of("test.keyed", Keyed(account="7")) == "account 7"


def test_a_concurrency_key_that_is_no_field_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match="acount"):
        catalog((Keyed, Misspelt))


@pytest.mark.parametrize(
    ("limit", "in_order"), [(0, False), (MAX_CONCURRENCY + 1, False), (2, True)]
)
def test_limits_that_make_no_sense_are_refused(limit: int, in_order: bool) -> None:
    with pytest.raises(ValueError, match=r"limit|in order"):
        Concurrency(key="account", limit=limit, in_order=in_order)


def test_long_keys_are_kept_short_and_apart() -> None:
    assert kept("short") == "short"
    long = [kept("x" * n) for n in (300, 301)]
    assert len(set(long)) == 2
    assert max(map(len, long)) < 80
