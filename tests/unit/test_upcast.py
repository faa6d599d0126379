"""Payloads of older versions are brought to the contract's own, step by step, or refused with a reason."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.contract import JobContract, JobSpec, UnreadablePayload, Upcast


def _split_name(old: dict[str, Any]) -> dict[str, Any]:
    first, last = old.pop("name").split(" ", 1)
    return {**old, "first": first, "last": last}


class Greeting(JobContract):
    """Version 1 had `name`, version 2 `first` and `last`, version 3 has a `tone` as well."""

    spec: ClassVar[JobSpec] = JobSpec(kind="test.greeting", version=3)
    upcasts: ClassVar[Mapping[int, Upcast]] = MappingProxyType(
        {1: _split_name, 2: lambda old: {**old, "tone": "kind"}}
    )

    first: str
    last: str
    tone: str


class Gap(JobContract):
    """Nobody knows any more how to read version 1."""

    spec: ClassVar[JobSpec] = JobSpec(kind="test.gap", version=3)
    upcasts: ClassVar[Mapping[int, Upcast]] = MappingProxyType({2: lambda old: old})


@pytest.mark.parametrize(
    ("version", "payload"),
    [
        (1, {"name": "Ada Lovelace"}),
        (2, {"first": "Ada", "last": "Lovelace"}),
        (3, {"first": "Ada", "last": "Lovelace", "tone": "kind"}),
    ],
)
def test_every_version_that_was_ever_written_is_read(version: int, payload: dict[str, Any]) -> None:
    before = dict(payload)
    assert Greeting.read(version, payload) == Greeting(first="Ada", last="Lovelace", tone="kind")
    assert payload == before


@given(version=st.integers(-5, 10).filter(lambda number: number not in {2, 3}))
def test_a_version_that_no_path_leads_from_is_refused(version: int) -> None:
    with pytest.raises(
        UnreadablePayload, match=rf"version {version}; here is version 3"
    ) as refused:
        Gap.read(version, {})
    assert refused.value.code == "wrong_version"


@pytest.mark.parametrize(
    ("version", "payload", "named"),
    [
        (3, {"first": "Ada", "last": 5, "tone": "kind"}, "last"),
        (3, {"first": "Ada"}, "last, tone"),
        (2, {"first": "Ada", "last": "L", "extra": 1}, "extra"),
    ],
)
def test_a_payload_that_does_not_fit_names_the_fields_and_none_of_the_data(
    version: int, payload: dict[str, Any], named: str
) -> None:
    with pytest.raises(UnreadablePayload, match=rf"test\.greeting: {named}\.$") as refused:
        Greeting.read(version, payload)
    assert refused.value.code == "invalid_payload"


@pytest.mark.parametrize("payload", [{}, {"name": "Ada"}, {"name": None}])
def test_an_upcast_that_fails_makes_the_payload_unreadable_and_nothing_worse(
    payload: dict[str, Any],
) -> None:
    with pytest.raises(UnreadablePayload, match="version 1 can't be brought to version 2") as bad:
        Greeting.read(1, payload)
    assert bad.value.code == "invalid_payload"
