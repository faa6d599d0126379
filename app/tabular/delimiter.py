"""Which characters might separate the cells of a text."""

import re
from collections import Counter
from collections.abc import Sequence

COMMON = (",", ";", "\t", "|")
_RARE = (
    ":",
    " ",
    "^",
    "~",
    "\x01",
    "\x02",
    "\x1c",
    "\x1d",
    "\x1e",
    "\x1f",
    "¦",
    "§",
    "¬",
    "¤",
    "#",
    "!",
    "*",
    "&",
    "@",
    "/",
    "=",
)
_PRIORS = {
    **dict.fromkeys(COMMON, 1.0),
    ":": 0.6,
    " ": 0.55,
    "^": 0.95,
    "~": 0.95,
    "/": 0.3,
    "@": 0.3,
    "=": 0.5,
}
_CONTROL_PRIOR = 1.0
_OTHER_PRIOR = 0.6
_LONG_PRIOR = 0.97
_MOSTLY = 0.8
_FIRST_LINES = 1
_SHORTEST = 2
_RUN = re.compile(
    r"\\t|\t{2,3}|<[a-z]+>| ?[^\w\s\"'`.()\[\]{}%$€£\ud800-\udfff-][^\w\r\n\t+\"'`.()\[\]{}%$€£\ud800-\udfff-]{0,3}(?<! ) ?"
)


def candidates(lines: Sequence[str]) -> list[str]:
    """Delimiters that the lines could have, without those that are only parts of longer ones."""
    text = "".join(lines)
    longer = _longer(lines)
    singles = [each for each in (*COMMON, *_RARE) if each in text]
    return [
        each for each in singles if not any(_is_part(each, more, lines) for more in longer)
    ] + longer


def prior(delimiter: str) -> float:
    """How readily a delimiter is believed, 1 for the usual ones."""
    if len(delimiter) > 1:
        return _LONG_PRIOR
    if delimiter < " " and delimiter != "\t":
        return _CONTROL_PRIOR
    return _PRIORS.get(delimiter, _OTHER_PRIOR)


def _longer(lines: Sequence[str]) -> list[str]:
    """Delimiters of several characters that at least half of the lines have."""
    filled = [line for line in lines if line.strip()]
    counts: Counter[str] = Counter()
    for line in filled:
        counts.update({run for run in _RUN.findall(line) if len(run) > 1})
    found = {run for run, count in counts.items() if count * 2 >= len(filled)}
    found |= {run.strip() for run in found if len(run.strip()) > 1}
    halves = {run[: len(run) // 2] for run in found if len(run) > _SHORTEST}
    found |= {half for half in halves if half * 2 in found}
    return sorted(found)


def _is_part(single: str, longer: str, lines: Sequence[str]) -> bool:
    """Whether the character stands only inside the longer delimiter, from the first line on."""
    share = longer.count(single)
    if not share or longer.strip(" ") == single:
        return False
    filled = [line for line in lines if single in line]
    parts = [line.count(longer) * share >= _MOSTLY * line.count(single) for line in filled]
    return all(parts[:_FIRST_LINES]) and sum(parts) >= _MOSTLY * len(parts)
