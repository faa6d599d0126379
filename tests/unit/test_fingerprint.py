"""Deaths of one cause have one fingerprint, deaths of two causes have two."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.incidents import fingerprint

DEATH = {"kind": "mail.welcome", "code": "exception", "error_type": "KeyError", "frame": "app.a:f"}


def of(message: str = "", **changed: str | None) -> str:
    facts: dict[str, str | None] = {**DEATH, **changed}
    return fingerprint(
        facts["kind"],
        str(facts["code"]),
        error_type=facts["error_type"],
        frame=facts["frame"],
        message=message,
    )


@given(one=st.text(), other=st.text())
def test_where_code_was_running_the_message_does_not_matter(one: str, other: str) -> None:
    assert of(one) == of(other)


@pytest.mark.parametrize("part", DEATH)
def test_another_kind_code_exception_or_place_is_another_cause(part: str) -> None:
    assert of() != of(**{part: "another"})
    assert of(**{part: "another"}) != of(**{part: "third"})


@given(one=st.uuids(), other=st.uuids(), numbers=st.tuples(st.integers(0), st.integers(0)))
def test_without_a_place_the_message_counts_but_not_the_data_in_it(
    one: UUID, other: UUID, numbers: tuple[int, int]
) -> None:
    texts = [
        f"customer {key} has {number} of 0x{number:x}"
        for key, number in zip((one, other), numbers, strict=True)
    ]
    assert of(texts[0], frame=None) == of(texts[1], frame="")
    assert of(texts[0], frame=None) != of("customer is gone", frame=None)


def test_parts_do_not_run_into_each_other() -> None:
    assert of(kind="a", code="bc") != of(kind="ab", code="c")
    assert of(kind=None) == of(kind="")


def test_a_fingerprint_is_stored_data() -> None:
    """A change of the formula would open every incident a second time."""
    assert of() == "c3fb9ba0758c51b9ca0223eca3f550c7"
