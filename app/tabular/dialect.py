"""Finding the dialect: read the beginning in every way that it could be meant, and take the best table.

A good table has long runs of rows of one width, and cells that look like something: numbers, dates,
words without other delimiters in them. The idea of weighing both is that of van den Burg, Nazábal and
Sutton, "Wrangling messy CSV files by detecting row and type patterns" (2019).
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from app.tabular.delimiter import COMMON, candidates, prior
from app.tabular.grammar import NUL, Grammar, split_lines, without_end
from app.tabular.kinds import CODE, DATE, EMAIL, EMPTY, NUMBER, TEXT, TIME, TYPED, URL, kind
from app.tabular.layout import Hints
from app.tabular.parsing import parse
from app.tabular.wrapping import find_wrapping

_SAMPLE_LINES = 150
_SAMPLE_CHARS = 48 * 1024
_LEAST_CHARS = 8 * 1024
_LEAST_LINES = 10
_MAX_CELLS = 3000
_SINGLE_COLUMN = 0.1
_WORTH = {NUMBER: 1.0, DATE: 1.0, TIME: 1.0, EMAIL: 1.0, URL: 1.0, EMPTY: 0.8, CODE: 0.85}
_QUOTES = ('"', "'", "`")
_SPACED = 0.9
_ODD_PRIOR = 0.95
_ENOUGH_LINES = 3
_SHORT_NAME = 2
_PHONE = re.compile(r"\+[0-9][0-9 ()/.-]{6,}")
_USUAL_ESCAPES = ("\\", "\0")
_ENOUGH_ESCAPES = 2
_MOST_ESCAPES = 5
_Scored = tuple[float, Grammar]


def find_grammar(text: str, hints: Hints) -> tuple[Grammar, list[_Scored]]:
    """The likeliest grammar of the text and what else was tried, best first.

    A text without any delimiter gets one that it doesn't have.
    """
    sample = sample_of(text)
    lines = split_lines(sample)
    wrapping = find_wrapping(lines)
    if wrapping:
        sample = wrapping.removed(sample)
        lines = split_lines(sample)
    if hints.escape == NUL:
        hints = hints.model_copy(update={"escape": "\0"})
    scored = sorted(_scores(sample, lines, hints), key=lambda each: each[0], reverse=True)
    if not scored:  # nothing below a line that names the delimiter
        return Grammar(), scored
    best = scored[0][1]
    if hints.escape is None:
        best = _with_escape(sample, best)
    return best.but(wrapping=wrapping), scored


def sample_of(text: str) -> str:
    """The first lines of a text: enough to know its dialect."""
    lines: list[str] = []
    chars = 0
    for line in split_lines(text):
        filled = bool(line.strip(" \t\r\n,;"))
        lines.append(line)
        chars += len(line)
        enough = len(lines) > _SAMPLE_LINES and chars > _LEAST_CHARS
        much = chars > _SAMPLE_CHARS and len(lines) >= _LEAST_LINES
        if much or (filled and enough):
            break
    return "".join(lines)


def _scores(sample: str, lines: Sequence[str], hints: Hints) -> Iterator[_Scored]:
    single = _single_column(sample, lines, hints)
    if single is not None:
        yield single
    found = [each for each in candidates(lines) if not _is_prose_below_a_name(lines, each.strip())]
    for delimiter in [hints.delimiter] if hints.delimiter else found:
        for quote in _quotes(sample, delimiter, hints):
            grammar = Grammar(delimiter, quote, hints.escape)
            yield from _score_each(sample, lines, grammar)
            if hints.escape is None and "\\" + delimiter in sample:
                yield from _score_each(sample, lines, grammar.but(escape="\\"))


def _score_each(sample: str, lines: Sequence[str], grammar: Grammar) -> Iterator[_Scored]:
    records = _records(sample, grammar)
    if all(len(record) < 2 for record in records):  # noqa: PLR2004
        return
    cut = 0.1 if grammar.delimiter not in COMMON and _splits_values(lines) else 1
    worth = cut * score(records) * prior(grammar.delimiter)
    if grammar.delimiter == " ":
        yield from ((value * cut, each) for value, each in _spaces(sample, grammar, records))
        return
    if _header_is_one_number_column(lines, grammar):
        worth *= 0.1
    if len(grammar.delimiter) == 1 and _all_spaced(records):
        spaced = grammar.but(skip_space=True)
        usual = (
            1.0 if grammar.delimiter in COMMON else 0.5
        )  # "Title: ..." stands above many a table
        yield score(_records(sample, spaced)) * prior(grammar.delimiter) * usual, spaced
        worth *= 0.5
    yield worth, grammar


def _spaces(sample: str, grammar: Grammar, records: list[list[str]]) -> Iterator[_Scored]:
    """One space between cells, or any number of them; words alone make no table."""
    for each, rows, value in (
        (grammar, records, score(records) * prior(" ")),
        (
            runs := grammar.but(skip_space=True),
            found := _records(sample, runs),
            score(found) * prior(" ") * _ODD_PRIOR,
        ),
    ):
        typed = sum(kind(cell) in TYPED or kind(cell) == CODE for row in rows[1:] for cell in row)
        cells = sum(len(row) for row in rows[1:]) or 1
        quoted = ' "' in sample or " '" in sample
        aligned = each.skip_space and sample.count("  ") > len(rows) > 1
        yield (value if typed * 4 > cells or quoted or aligned else value * 0.2), each


def _single_column(sample: str, lines: Sequence[str], hints: Hints) -> _Scored | None:
    if hints.delimiter:
        return None
    unused = next((each for each in (*COMMON, "\x1f", "\x1e") if each not in sample), "\x1f")
    quote = '"' if hints.quote is None else hints.quote or None
    grammar = Grammar(unused, quote, hints.escape)
    cells = [without_end(line) for line in lines if line.strip()]
    worth = sum(map(_worth, cells)) / len(cells) if cells else 1.0
    return _SINGLE_COLUMN * max(worth, 0.3), grammar


def _records(sample: str, grammar: Grammar) -> list[list[str]]:
    parsed = parse(sample, grammar, 0, final=False, settle=True)
    return [record for record in parsed.records if any(map(str.strip, record))]


def score(records: Sequence[Sequence[str]]) -> float:
    """Between 0 and 1: how much the records look like a table."""
    shape = max(_in_runs(records), _in_shares(records))
    cells = [cell for record in records for cell in record][:_MAX_CELLS]
    return shape * sum(map(_worth, cells)) / max(len(cells), 1)


def _in_runs(records: Sequence[Sequence[str]]) -> float:
    """How much of the text is in long runs of rows of one width; wider ones count more."""
    shape = 0.0
    for width, run in groupby(map(len, records)):
        length = sum(1 for _ in run)
        steady = (1 - 1 / length) ** 2 if len(records) > 1 else 0.5
        shape += length * steady * (width - 1) / width
    return shape / max(len(records), 1)


def _in_shares(records: Sequence[Sequence[str]]) -> float:
    """How likely two rows have the same width: for tables whose rows differ here and there."""
    counts = Counter(map(len, records))
    total = max(counts.total(), 1)
    return sum((count / total) ** 2 * (width - 1) / width for width, count in counts.items())


def _worth(cell: str) -> float:
    """How much a cell looks like one whole value."""
    found = kind(cell)
    if found != TEXT:
        worth = _WORTH[found]
        return worth if cell == cell.strip() or found == EMPTY else worth * 0.6
    text = cell.strip()
    if text[0] in _QUOTES[:2] or text[-1] in _QUOTES[:2]:
        return 0.2
    if any(mark in text for mark in "\t;|"):
        return 0.15
    worth = 0.55 if "," in text else 0.8
    return worth if text == cell else worth * 0.6


def _quotes(sample: str, delimiter: str, hints: Hints) -> list[str | None]:
    if hints.quote is not None:
        return [hints.quote or None]
    found: list[str | None] = ['"']
    usual = min(_edges(sample, delimiter, '"'))
    found.extend(quote for quote in _QUOTES[1:] if min(_edges(sample, delimiter, quote)) > usual)
    return found


def _edges(sample: str, delimiter: str, quote: str) -> tuple[int, int]:
    """How often the quote stands at a cell's beginning, and at a cell's end."""
    before = sum(sample.count(edge + quote) for edge in (delimiter, "\n", "\r"))
    after = sum(sample.count(quote + edge) for edge in (delimiter, "\n", "\r"))
    return before + sample.startswith(quote), after + sample.endswith(quote)


def _all_spaced(records: Sequence[Sequence[str]]) -> bool:
    """Whether a space follows nearly every delimiter."""
    cells = [cell for record in records for cell in record[1:] if cell]
    return bool(cells) and sum(cell.startswith(" ") for cell in cells) >= _SPACED * len(cells)


def _is_prose_below_a_name(lines: Sequence[str], delimiter: str) -> bool:
    """Whether the first line is one word or two, and those right below it have commas as sentences do."""
    if len(lines) < _ENOUGH_LINES or not delimiter or delimiter in lines[0] or not lines[0].strip():
        return False
    if len(lines[0].split()) > _SHORT_NAME or not lines[1].strip():
        return False
    below = [line for line in lines[1:] if delimiter in line]
    spaced = [line for line in below if line.count(f"{delimiter} ") == line.count(delimiter)]
    return len(below) > 1 and len(spaced) == len(below)


def _splits_values(lines: Sequence[str]) -> bool:
    """Whether whole lines are values, such as times, that the delimiter only cuts in two."""
    values = [without_end(line) for line in lines[1:] if line.strip()]
    whole = sum(
        kind(each) in (DATE, TIME, EMAIL, URL) or _PHONE.fullmatch(each) is not None
        for each in values
    )
    return bool(values) and whole >= _SPACED * len(values)


def _header_is_one_number_column(lines: Sequence[str], grammar: Grammar) -> bool:
    """A column of decimal numbers such as 1,5 under a name without a comma."""
    filled = [without_end(line) for line in lines if line.strip()]
    if grammar.delimiter != "," or len(filled) < 3 or "," in filled[0]:  # noqa: PLR2004
        return False
    return kind(filled[0]) == TEXT and all(
        kind(line) == NUMBER and line.count(",") <= 1 for line in filled[1:]
    )


def _with_escape(sample: str, grammar: Grammar) -> Grammar:
    """The grammar with the escape character that leaves the least damage, if any does."""
    records = _records(sample, grammar)
    widths = Counter(len(record) for record in records)
    width = max(widths, key=lambda each: (widths[each] * (each > 1), each), default=0)
    escaped = grammar.but(escape="\\")
    if records and 1 < len(records[0]) < width and not _damage(sample, escaped, len(records[0])):
        return escaped
    best, least = grammar, _damage(sample, grammar, width)
    for escape, count in _escapes(sample, grammar).items():
        usual = escape in _USUAL_ESCAPES
        if not usual and count < _ENOUGH_ESCAPES:
            continue
        other = grammar.but(escape=escape)
        damage = _damage(sample, other, width)
        if damage < least - (not usual):
            best, least = other, damage
    return best


def _escapes(sample: str, grammar: Grammar) -> Counter[str]:
    """What stands before quotes inside of cells, or before delimiters, and how often."""
    counts: Counter[str] = Counter()
    marks = [mark for mark in (grammar.quote, grammar.delimiter) if mark]
    for mark in marks:
        at = sample.find(mark)
        while at >= 0:
            before = sample[at - 1 : at] if at else ""
            if before and not before.isalnum() and not before.isspace() and before < "\ud800":
                counts[before] += 1
            at = sample.find(mark, at + 1)
    for never in (*marks, *_QUOTES):
        counts.pop(never, None)
    return Counter(dict(counts.most_common(_MOST_ESCAPES)))


def _damage(sample: str, grammar: Grammar, width: int) -> int:
    parsed = parse(sample, grammar, width, final=True)
    ragged = sum(1 for record in parsed.records if record and len(record) != width)
    return parsed.repaired + 2 * len(parsed.problems) + ragged
