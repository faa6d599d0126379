"""Estimates, requests and passages: nothing lost, nothing over a limit, order kept."""

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.ai.batching import pack
from app.ai.passages import cut
from app.ai.results import content_hash, normalised, packed, unpacked
from app.ai.tokens import clip, estimate_tokens, reach, running_thirds

words = st.text(st.sampled_from("ab c.\n\n!é漢😀1_") | st.characters(codec="utf-8"), max_size=400)


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(50, 120), st.integers(1, 9))
@settings(max_examples=200, deadline=None)
def test_requests_hold_every_text_once_in_order_and_within_the_limits(
    sizes: list[int], max_tokens: int, max_inputs: int
) -> None:
    runs = pack(sizes, max_tokens=max_tokens, max_inputs=max_inputs)
    assert [at for run in runs for at in run] == list(range(len(sizes)))
    for run in runs:
        assert 0 < len(run) <= max_inputs
        assert sum(sizes[at] for at in run) <= max_tokens
    for run, following in itertools.pairwise(runs):
        full = len(run) == max_inputs
        assert full or sum(sizes[at] for at in run) + sizes[following.start] > max_tokens


def test_a_text_that_fits_into_no_request_is_refused() -> None:
    with pytest.raises(ValueError, match="text 1 has 11 tokens"):
        pack([10, 11], max_tokens=10, max_inputs=5)


@given(words, st.integers(4, 60))
@example("x" * 500, 4)
@example("😀" * 50, 4)
@settings(max_examples=300, deadline=None)
def test_passages_cover_the_text_overlap_and_are_short(text: str, tokens: int) -> None:
    passages = cut(text, tokens=tokens)
    covered = {at for each in passages for at in range(each.begin, each.end)}
    assert all(text[at].isspace() for at in range(len(text)) if at not in covered)
    assert bool(passages) == bool(text.strip())
    for each in passages:
        assert 0 <= each.begin < each.end <= len(text)
        piece = text[each.begin : each.end]
        assert estimate_tokens(piece) <= tokens or len(piece) == 1
    for one, other in itertools.pairwise(passages):
        assert one.begin < other.begin
        assert one.end < other.end or text[other.begin : other.end].strip()


def test_passages_end_where_a_reader_would_pause_and_overlap() -> None:
    paragraph = "One sentence here. Another one follows. " * 3
    text = "\n\n".join([paragraph.strip()] * 6)
    passages = cut(text, tokens=100)
    assert len(passages) > 2
    for each in passages[:-1]:
        assert text[each.end - 1] == "."
    for one, other in itertools.pairwise(passages):
        assert other.begin < one.end


@given(words, st.integers(4, 60))
@settings(max_examples=200, deadline=None)
def test_clipped_text_is_a_beginning_that_fits(text: str, tokens: int) -> None:
    clipped = clip(text, tokens)
    assert text.startswith(clipped)
    assert estimate_tokens(clipped) <= tokens or len(clipped) == 1
    assert clipped == text or clipped == text[: reach(running_thirds(text), 0, tokens)]


@pytest.mark.parametrize(
    ("text", "real"),
    [
        # As counted by a byte-pair encoding of 100,000 entries.
        ("The quick brown fox jumps over the lazy dog.", 10),
        ("Background work for a SaaS, done right: queues, workers, retries.", 15),
        ("Invoice 2026-11-28, total 1,234.56 EUR", 18),
        ("これはテストです。", 7),
        ("😀😀😀", 6),
    ],
)
def test_the_estimate_is_on_the_high_side_but_not_absurd(text: str, real: int) -> None:
    assert real <= estimate_tokens(text) <= 3 * real + 2


@given(words)
@settings(max_examples=200, deadline=None)
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)


def test_hashes_tell_parts_apart() -> None:
    assert content_hash("ab", "c") != content_hash("a", "bc")
    assert content_hash("e\u0301") != content_hash(normalised("e\u0301"))
    assert content_hash(normalised("e\u0301")) == content_hash(normalised("\u00e9 "))


def test_vectors_are_kept_as_32_bit_floats() -> None:
    assert packed([1.0, -0.5]) == b"\x00\x00\x80\x3f\x00\x00\x00\xbf"
    assert unpacked(packed([0.25, -3.0])) == [0.25, -3.0]
