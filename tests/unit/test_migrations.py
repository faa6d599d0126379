"""What `millrace migrate` does about two migrations that are the newest."""

import pytest

from app.errors import Unprocessable
from app.migrations.run import only


def test_the_newest_is_the_one() -> None:
    assert only(["0027"]) == "0027"


def test_two_are_named() -> None:
    with pytest.raises(Unprocessable, match=r"acme_0001.*docs/upgrade\.md"):
        only(["acme_0001", "0027"])
