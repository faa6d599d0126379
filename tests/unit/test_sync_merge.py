"""The conflict rule: field by field against what both sides last had in common."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.sync.merge import FIELDS, changed, merge

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=1)
values = st.fixed_dictionaries(dict.fromkeys(FIELDS, st.sampled_from([None, "a", "b"])))


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "ours_at", "wanted", "conflict"),
    [
        ("a", "a", "b", NOW, "b", False),
        ("a", "b", "a", NOW, "b", False),
        ("a", "b", "b", NOW, "b", False),
        ("a", None, "a", NOW, None, False),
        ("a", "a", None, NOW, None, False),
        ("a", "b", "c", LATER + timedelta(seconds=1), "b", True),
        ("a", "b", "c", NOW, "c", True),
        ("a", "b", "c", LATER, "c", True),
        (None, "b", None, NOW, "b", False),
        (None, None, "c", NOW, "c", False),
    ],
)
def test_one_field(
    base: str | None,
    ours: str | None,
    theirs: str | None,
    ours_at: datetime,
    wanted: str | None,
    conflict: bool,
) -> None:
    merged = merge(
        {"company": base}, {"company": ours}, {"company": theirs}, local_at=ours_at, remote_at=LATER
    )
    assert merged.values["company"] == wanted
    assert bool(merged.conflicts) is conflict


@settings(max_examples=200)
@given(values, values, values, st.booleans())
def test_no_change_is_lost_but_by_a_counted_conflict(
    base: dict[str, str | None],
    ours: dict[str, str | None],
    theirs: dict[str, str | None],
    ours_is_newer: bool,
) -> None:
    times = (LATER, NOW) if ours_is_newer else (NOW, LATER)
    merged = merge(base, ours, theirs, local_at=times[0], remote_at=times[1])
    for side in (ours, theirs):
        for field in changed(base, side):
            assert merged.values[field] == side[field] or field in merged.conflicts
    for field in FIELDS:
        assert merged.values[field] in {ours[field], theirs[field]}


@settings(max_examples=100)
@given(values, values, values)
def test_merging_again_changes_nothing(
    base: dict[str, str | None], ours: dict[str, str | None], theirs: dict[str, str | None]
) -> None:
    once = merge(base, ours, theirs, local_at=NOW, remote_at=LATER).values
    assert merge(theirs, once, theirs, local_at=LATER, remote_at=LATER).values == once
