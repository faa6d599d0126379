"""The corpus of odd files, its judge, and how well our reader does on it."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from zlib import crc32

import pytest

from tests.corpus.case import Case
from tests.corpus.generate import corpus
from tests.corpus.judge import Outcome, judge
from tests.corpus.ours import read

ONE_IN = 3
"""The reader is tried on a third of the files; `make bench NAME=csv_readers` takes all."""
FLOORS = {
    "clean": 1.0,
    "delimiter": 1.0,
    "misleading cells": 1.0,
    "quoting": 1.0,
    "escape": 1.0,
    "line ends": 1.0,
    "encoding": 1.0,
    "invalid bytes": 1.0,
    "no header": 1.0,
    "header only": 1.0,
    "several header rows": 1.0,
    "header cells": 1.0,
    "trailing columns": 1.0,
    "preamble": 1.0,
    "footer": 1.0,
    "blank lines": 1.0,
    "several tables": 1.0,
    "ragged rows": 1.0,
    "stray quotes": 1.0,
    "unclosed quote": 1.0,
    "foreign row": 1.0,
    "NUL bytes": 1.0,
    "combined": 1.0,
    "container": 1.0,
    "exports of programs": 1.0,
    "large": 1.0,
    "size": 1.0,
    "no table": 1.0,
}
"""The least share of a kind's files that must be read right; docs/csv-readers.md has the figures for all."""


@cache
def cases() -> Sequence[Case]:
    return tuple(corpus())


@cache
def tables() -> Sequence[Case]:
    return tuple(case for case in cases() if case.readings)


def sample() -> Sequence[Case]:
    """Chosen by the names' hashes, so that no pattern of theirs is missed."""
    return [case for case in cases() if crc32(case.filename.encode()) % ONE_IN == 0]


def perfect(case: Case) -> Outcome:
    if not case.readings:
        return Outcome(refused="no table")
    best = case.readings[0]
    return Outcome(header=best.header, records=best.records)


def test_the_corpus_is_the_same_each_time_and_no_name_is_twice() -> None:
    def digest(made: Sequence[Case]) -> str:
        return hashlib.sha256(b"".join(case.data for case in made)).hexdigest()

    assert digest(cases()) == digest(tuple(corpus()))
    assert len({case.filename for case in cases()}) == len(cases()) > 400


def test_who_sees_what_was_meant_is_right_everywhere() -> None:
    wrong = [case.filename for case in cases() if not judge(case, perfect(case)).right]
    assert wrong == []


def dropped(rows: list[Sequence[str]], at: int) -> None:
    del rows[at]


def doubled(rows: list[Sequence[str]], at: int) -> None:
    rows[at:at] = [rows[at]] * 3


def merged(rows: list[Sequence[str]], at: int) -> None:
    rows[at : at + 2] = [[*rows[at], *rows[at + 1]]]


def swapped(rows: list[Sequence[str]], at: int) -> None:
    rows[at], rows[at + 1] = rows[at + 1], rows[at]


def shifted(rows: list[Sequence[str]], at: int) -> None:
    rows[at] = ["", *rows[at]]


def changed(rows: list[Sequence[str]], at: int) -> None:
    rows[at] = [*rows[at][:-1], rows[at][-1] + "?"]


@pytest.mark.parametrize("spoil", [dropped, doubled, merged, swapped, shifted, changed])
def test_who_spoils_a_sound_record_is_wrong(
    spoil: Callable[[list[Sequence[str]], int], None],
) -> None:
    forgiven = [case.filename for case in tables() if not _is_noticed(case, spoil)]
    assert forgiven == []


def _is_noticed(case: Case, spoil: Callable[[list[Sequence[str]], int], None]) -> bool:
    """Also where there is nothing to spoil."""
    best = case.readings[0]
    doubtful = {*best.damaged, *best.optional}
    sound = [
        n
        for n in range(len(best.records) - 1)
        if doubtful.isdisjoint((n, n + 1)) and best.records[n] != best.records[n + 1]
    ]
    if not sound:
        return True
    rows: list[Sequence[str]] = list(best.records)
    spoil(rows, sound[len(sound) // 2])
    verdict = judge(case, Outcome(header=best.header, records=rows))
    return not verdict.right and verdict.neighbours is not True


def test_a_broken_record_may_be_marked_and_a_sound_one_may_not() -> None:
    for case in tables():
        best = case.readings[0]
        if not best.damaged or case.kind == "large":  # these are no different, and slow
            continue
        rows = list(best.records)
        for number in best.damaged:
            rows[number] = ("what could be read",)
        unmarked = Outcome(header=best.header, records=rows)
        marked = replace(unmarked, flagged=frozenset(best.damaged))
        assert judge(case, marked).right, case.filename
        assert not judge(case, unmarked).right, case.filename
        assert judge(case, unmarked).neighbours, case.filename
        sound = min(set(range(len(rows))) - set(best.damaged))
        wrong = replace(marked, flagged=marked.flagged | {sound})
        assert not judge(case, wrong).right, case.filename


def test_another_header_is_wrong() -> None:
    for case in tables():
        best = case.readings[0]
        other = ("one",) if best.header is None else None
        assert not judge(case, Outcome(header=other, records=best.records)).right, case.filename


@pytest.mark.parametrize("kind", FLOORS)
def test_our_reader_does_not_get_worse(kind: str) -> None:
    members = [case for case in sample() if case.kind == kind]
    wrong = {
        case.filename: verdict.note
        for case in members
        if not (verdict := judge(case, read(case.data, case.filename))).right
    }
    share = 1 - len(wrong) / len(members)
    assert share >= FLOORS[kind], "\n".join(f"{name}: {note}" for name, note in wrong.items())


def test_every_kind_has_a_floor() -> None:
    assert {case.kind for case in cases()} == set(FLOORS)
