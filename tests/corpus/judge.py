"""How right a reader was about a file.

Judged leniently where readers differ in manner and not in what they saw: an empty cell may be missing
at the end of a row, a record without any content may be left out, white space in a header counts as one
blank, and made-up or numbered names for empty and repeated ones are fine.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher

from tests.corpus.case import Case, Cells, Reading

PIECES = 2
"""So many records may stand for one broken row: a reader that splits it has not harmed the others."""
Span = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a reader made of a file."""

    header: Sequence[str] | None = None
    """None where it says that there is none."""
    records: Sequence[Sequence[str]] = ()
    flagged: frozenset[int] = frozenset()
    """Records that it marks as bad, by index."""
    refused: str | None = None
    """What it said instead of reading the file."""
    failed: bool = False
    """It crashed, hung, or gave no answer of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    right: bool
    """Everything as in one of the right readings."""
    header: bool = False
    neighbours: bool | None = None
    """Of the sound records around broken ones: all there, whole, once, in order, unmarked. None where
    nothing is broken."""
    records_meant: int = 0
    records_given: int = 0
    records_matched: int = 0
    cells_meant: int = 0
    cells_given: int = 0
    cells_matched: int = 0
    note: str = ""


@dataclass(slots=True)
class _Tally:
    reading: Reading
    outcome: Outcome
    given: list[Cells]
    flagged: set[int]
    meant: list[Cells]
    lost: list[int] = field(default_factory=list)
    extra: list[int] = field(default_factory=list)
    wrong: list[int] = field(default_factory=list)
    records: int = 0
    cells: int = 0
    unread: int = 0
    """Cells of broken rows that were rightly marked, and of records that may be left out."""
    excess: int = 0
    """Cells that were given for those all the same."""
    skipped: int = 0


def judge(case: Case, outcome: Outcome) -> Verdict:
    """The best verdict over the readings that are right."""
    if not case.readings:
        refused = outcome.refused is not None and not outcome.failed
        return Verdict(right=refused, note=outcome.refused or "was read")
    if outcome.refused is not None or outcome.failed:
        return _refused(case, outcome)
    verdicts = [_compare(reading, outcome) for reading in case.readings]
    return max(verdicts, key=lambda verdict: (verdict.right, verdict.cells_matched))


def _refused(case: Case, outcome: Outcome) -> Verdict:
    reading = case.readings[0]
    return Verdict(
        right=case.may_refuse and not outcome.failed,
        neighbours=False if reading.damaged else None,
        records_meant=len(reading.records),
        cells_meant=sum(len(_trimmed(record)) for record in reading.records),
        note=f"refused: {outcome.refused}",
    )


def _compare(reading: Reading, outcome: Outcome) -> Verdict:
    if reading.padded:
        outcome = _unpadded(outcome)
    tally = _aligned(reading, outcome)
    header = _header_is_right(reading, outcome.header)
    sound = not tally.lost and not tally.extra
    return Verdict(
        right=header and sound and not tally.wrong,
        header=header,
        neighbours=sound if reading.damaged else None,
        records_meant=len(tally.meant) - tally.skipped,
        records_given=len(tally.given),
        records_matched=tally.records,
        cells_meant=sum(map(len, tally.meant)) - tally.unread,
        cells_given=sum(map(len, tally.given)) - tally.excess,
        cells_matched=tally.cells,
        note=_note(tally, header),
    )


def _unpadded(outcome: Outcome) -> Outcome:
    """Without the spaces around cells, and without a first column in which nothing is."""
    header = [cell.strip() for cell in outcome.header or ()]
    records = [[cell.strip() for cell in record] for record in outcome.records]
    if not any(row[0] for row in (header, *records) if row):
        header, records = header[1:], [record[1:] for record in records]
    return replace(outcome, header=header if outcome.header is not None else None, records=records)


def _aligned(reading: Reading, outcome: Outcome) -> _Tally:
    given: list[Cells] = []
    flagged: set[int] = set()
    for number, record in enumerate(outcome.records):
        if any(cell.strip() for cell in record):
            if number in outcome.flagged:
                flagged.add(len(given))
            given.append(_trimmed(record))
    tally = _Tally(reading, outcome, given, flagged, _expected(reading, set(given)))
    for span, equal in _spans(tally.meant, given):
        if equal:
            _count_equal(tally, span)
        else:
            _count_different(tally, span)
    return tally


def _expected(reading: Reading, given: set[Cells]) -> list[Cells]:
    """The records as they would be matched: for a broken one, the accepted cells that were given."""
    expected = [_trimmed(record) for record in reading.records]
    for number, others in reading.damaged.items():
        if expected[number] in given:
            continue
        chosen = next((cells for cells in map(_trimmed, others) if cells in given), None)
        if chosen is not None:
            expected[number] = chosen
    return expected


def _spans(meant: list[Cells], given: list[Cells]) -> list[tuple[Span, bool]]:
    """Stretches that are equal and stretches that aren't, in order."""
    start = 0
    while start < min(len(meant), len(given)) and meant[start] == given[start]:
        start += 1
    end = 0
    while end < min(len(meant), len(given)) - start and meant[-1 - end] == given[-1 - end]:
        end += 1
    last, also_last = len(meant) - end, len(given) - end
    spans: list[tuple[Span, bool]] = [((0, start, 0, start), True)]
    matcher = SequenceMatcher(None, meant[start:last], given[start:also_last], autojunk=False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        spans.append(((start + i1, start + i2, start + j1, start + j2), tag == "equal"))
    spans.append(((last, len(meant), also_last, len(given)), True))
    return spans


def _count_equal(tally: _Tally, span: Span) -> None:
    first, last, given, _ = span
    for number in range(first, last):
        tally.records += 1
        tally.cells += len(tally.meant[number])
        may_be_marked = number in tally.reading.damaged or number in tally.reading.optional
        if given + number - first in tally.flagged and not may_be_marked:
            tally.lost.append(number)


def _count_different(tally: _Tally, span: Span) -> None:
    first, last, given, end = span
    allowed = 0
    for number in range(first, last):
        here = given if given < end else None
        if number in tally.reading.optional and here is None:
            tally.skipped += 1
            tally.unread += len(tally.meant[number])
            continue
        if number in tally.reading.damaged:
            allowed += PIECES - 1
            _count_broken(tally, number, here)
        else:
            tally.lost.append(number)
            _count_cells(tally, number, here)
        if here is not None:
            given += 1
    left = range(given, end)
    tally.extra.extend(left[allowed:])


def _count_broken(tally: _Tally, number: int, given: int | None) -> None:
    if given is not None and given in tally.flagged:
        tally.records += 1
        tally.unread += len(tally.meant[number])
        tally.excess += len(tally.given[given])
    else:
        tally.wrong.append(number)
        _count_cells(tally, number, given)


def _count_cells(tally: _Tally, number: int, given: int | None) -> None:
    if given is not None:
        pairs = zip(tally.meant[number], tally.given[given], strict=False)
        tally.cells += sum(meant == had for meant, had in pairs)


def _trimmed(record: Sequence[str]) -> Cells:
    end = len(record)
    while end and not record[end - 1]:
        end -= 1
    return tuple(record[:end])


def _header_is_right(reading: Reading, given: Sequence[str] | None) -> bool:
    if reading.header is None or given is None:
        return reading.header is None and given is None
    names = (reading.header, *reading.other_headers)
    return any(_names_agree(meant, given) for meant in names)


def _names_agree(meant: Sequence[str], given: Sequence[str]) -> bool:
    wanted = _trimmed([_name(name) for name in meant])
    had = [_name(name) for name in given]
    if len(had) < len(wanted):
        return False
    seen: set[str] = set()
    for want, name in zip(wanted, had, strict=False):
        repeated = want in seen and name.startswith(want)
        if want and name != want and not repeated:
            return False
        seen.add(want)
    return True


def _name(text: str) -> str:
    return re.sub(r"[\s_]+", " ", text).strip()


def _note(tally: _Tally, header: bool) -> str:
    notes = []
    if not header:
        wanted = tally.reading.header
        notes.append(f"header {_short(tally.outcome.header)}, meant {_short(wanted)}")
    for word, numbers, rows in (
        ("lost", tally.lost, tally.meant),
        ("extra", tally.extra, tally.given),
        ("wrong", tally.wrong, tally.meant),
    ):
        if numbers:
            notes.append(f"{len(numbers)} {word}, the first: {_short(rows[numbers[0]])}")
    return "; ".join(notes)


def _short(cells: Sequence[str] | None) -> str:
    text = repr(list(cells)) if cells is not None else "none"
    return text if len(text) <= 300 else text[:300] + "..."
