"""So many of a thing, in words."""

import pytest

from app.plurals import counted


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 jobs"), (1, "1 job"), (2, "2 jobs"), (1200, "1,200 jobs")]
)
def test_one_is_no_plural(number: int, words: str) -> None:
    assert counted(number, "job") == words


def test_the_plural_may_be_said() -> None:
    assert counted(1, "row is", "rows are") == "1 row is"
    assert counted(3, "row is", "rows are") == "3 rows are"
