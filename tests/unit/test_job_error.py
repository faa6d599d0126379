"""What is kept of an error: words that PostgreSQL can store, and the place that it came from."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.job_error import (
    MAX_MESSAGE_CHARS,
    MAX_TRACEBACK_CHARS,
    describe_exception,
    job_error,
    printable,
    printable_json,
)

ANY_TEXT = st.text(st.characters(exclude_categories=()))
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | ANY_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
    max_leaves=10,
)


def caught(act: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as raised:
        act()
    return raised.value


@given(text=ANY_TEXT)
def test_printable_text_can_be_stored_and_says_the_same(text: str) -> None:
    shown = printable(text)
    assert "\x00" not in shown
    shown.encode()
    if "\x00" not in text and not any("\ud800" <= char <= "\udfff" for char in text):
        assert shown == text


def test_what_cannot_be_stored_is_written_as_an_escape() -> None:
    assert printable("a\x00b\udc80c") == "a\\x00b\\udc80c"


@given(value=ANY_JSON)
def test_every_text_in_a_json_value_is_printable(value: object) -> None:
    shown = json.dumps(printable_json(value))
    assert "\\u0000" not in shown.replace("\\\\", "")
    json.dumps(printable_json(value), ensure_ascii=False).encode()


def in_a_library() -> None:
    json.loads("{")


def in_our_code() -> None:
    raise KeyError("here")


def test_the_frame_is_the_innermost_of_our_own_and_has_no_line() -> None:
    told = describe_exception(caught(in_a_library), "exception")
    assert told["frame"] == f"{__name__}:in_a_library"
    assert (told["code"], told["type"]) == ("exception", "JSONDecodeError")
    assert "in_a_library" in told["traceback"]
    assert describe_exception(caught(in_our_code), "x")["frame"] == f"{__name__}:in_our_code"


def test_an_exception_that_was_never_raised_has_no_frame() -> None:
    assert describe_exception(RuntimeError("quiet"), "x")["frame"] == ""


def test_an_exception_without_words_is_called_by_its_type() -> None:
    assert describe_exception(RuntimeError(), "x")["message"] == "RuntimeError"


class Speechless(Exception):
    def __str__(self) -> str:
        raise ValueError("not even that")


def test_an_exception_that_cannot_say_what_it_is_is_called_by_its_type() -> None:
    assert describe_exception(Speechless(), "x")["message"] == "Speechless"


def test_long_errors_keep_the_start_of_the_message_and_the_end_of_the_traceback() -> None:
    told = describe_exception(RuntimeError("a" * 20_000 + "end"), "x")
    assert told["message"] == "a" * MAX_MESSAGE_CHARS
    assert len(told["traceback"]) == MAX_TRACEBACK_CHARS
    assert told["traceback"].endswith("end\n")


def test_nothing_in_an_error_is_beyond_storing() -> None:
    told = describe_exception(RuntimeError("a\x00b\ud800"), "code\x00\ud800")
    assert "\x00" not in "".join(told.values())
    "".join(told.values()).encode()
    assert job_error("c\x00", "m\x00") == {"code": "c\\x00", "message": "m\\x00"}
