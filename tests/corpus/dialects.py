"""Delimiters, quotes, escapes and line ends, in every likely combination."""

from collections.abc import Iterator
from dataclasses import replace

from tests.corpus.case import Case, Reading, Table, seeded, whole
from tests.corpus.dialect import COMMA, SEMICOLON, Dialect, Quoting, plain
from tests.corpus.tables import (
    TABLES,
    contacts,
    decimals,
    events,
    letters,
    lists,
    mails,
    nations,
    orders,
    organogram,
    pairs,
    products,
    sensors,
    spending,
    times,
)

DELIMITERS = {
    ",": "comma",
    ";": "semicolon",
    "\t": "tab",
    "|": "pipe",
    " ": "space",
    ":": "colon",
    "^": "caret",
    "~": "tilde",
    "\x01": "soh",
    "\x1f": "unit",
    ", ": "comma-space",
    "||": "two-pipes",
    "\t\t": "two-tabs",
    "::": "two-colons",
}
USUAL = (",", ";", "\t", "|")


def cases() -> Iterator[Case]:
    yield from _clean()
    yield from _delimiters()
    yield from _misleading()
    yield from _quotes()
    yield from _escapes()
    yield from _line_ends()


def _clean() -> Iterator[Case]:
    """Nothing odd: what any reader should get right."""
    for name, make in TABLES.items():
        for rows in (1, 3, 25, 300):
            table = make(rows)
            yield Case(
                kind="clean",
                name=f"{name}-{rows}",
                data=COMMA.file(table),
                readings=(whole(table),),
            )


def _delimiters() -> Iterator[Case]:
    for delimiter, word in DELIMITERS.items():
        dialect = Dialect(delimiter=delimiter)
        for make, rows in ((orders, 40), (contacts, 5), (products, 2), (sensors, 30), (pairs, 12)):
            if delimiter not in USUAL and make is pairs and rows < 20:
                rows = 20  # noqa: PLW2901 - a rare delimiter needs more than a few rows to be seen
            table = make(rows)
            yield Case(
                kind="delimiter",
                name=f"{word}-{table.name}",
                data=dialect.file(table),
                readings=(whole(table),),
            )
        bare = plain(nations(15), delimiter + '"')
        data = replace(dialect, quoting="none").file(bare)
        name = f"{word}-nations-unquoted"
        if delimiter != " ":  # "South America" can't be told there
            yield Case(kind="delimiter", name=name, data=data, readings=(whole(bare),))


def _misleading() -> Iterator[Case]:
    """Cells full of what is a delimiter elsewhere."""
    tables = (letters, lists, decimals, events, times, spending)
    for make in tables:
        for delimiter in USUAL:
            for quoting in ("minimal", "none"):
                table = make(30)
                dialect = Dialect(delimiter=delimiter, quoting=_quoting(quoting))
                if quoting == "none":
                    table = plain(table, delimiter + '"')
                name = f"{table.name}-{DELIMITERS[delimiter]}-{quoting}"
                yield Case(
                    kind="misleading cells",
                    name=name,
                    data=dialect.file(table),
                    readings=(whole(table),),
                )


def _quoting(name: str) -> Quoting:
    match name:
        case "all" | "minimal" | "text" | "none":
            return name
        case _:
            raise ValueError(name)


def _quotes() -> Iterator[Case]:
    for delimiter in USUAL:
        for quote, mark in (('"', "double"), ("'", "single"), ("`", "backtick")):
            for quoting in ("all", "text", "minimal"):
                if quote == "`" and (delimiter != "," or quoting != "all"):
                    continue
                dialect = Dialect(delimiter=delimiter, quote=quote, quoting=_quoting(quoting))
                table = (orders, organogram, spending)[len(quoting) % 3](18)
                name = f"{mark}-{quoting}-{DELIMITERS[delimiter]}"
                yield Case(
                    kind="quoting", name=name, data=dialect.file(table), readings=(whole(table),)
                )
    yield from _spaces_and_empties()


def _spaces_and_empties() -> Iterator[Case]:
    """Cells that a tidy reader would spoil."""
    rows = (
        ("1", " leading", "trailing ", "", "NA"),
        ("2", "  ", "null", "007", "1e5"),
        ("3", "=1+1", "#N/A", "TRUE", "00:10"),
        ("4", "\ttab", "None", "12345678901234567890", "-0"),
        ("5", "# no comment", "nan", "1.50", ""),
    )
    table = Table("spaces", ("id", "one", "two", "three", "four"), rows)
    for quoting in ("all", "minimal", "text"):
        for delimiter in (",", ";"):
            dialect = Dialect(delimiter=delimiter, quoting=_quoting(quoting))
            yield Case(
                kind="quoting",
                name=f"spaces-{quoting}-{DELIMITERS[delimiter]}",
                data=dialect.file(table),
                readings=(whole(table),),
            )
    padded = Dialect(delimiter=", ", quoting="all")
    yield Case(
        kind="quoting",
        name="space-before-quote",
        data=padded.file(orders(9)),
        readings=(whole(orders(9)),),
    )


def _escapes() -> Iterator[Case]:
    for escape, word in (("\\", "backslash"), ("\0", "nul"), (None, "doubled")):
        for quoting in ("all", "minimal"):
            for make in (orders, organogram, contacts):
                for delimiter in (",", ";"):
                    dialect = Dialect(escape=escape, quoting=_quoting(quoting), delimiter=delimiter)
                    table = make(25)
                    name = f"{word}-{quoting}-{table.name}-{DELIMITERS[delimiter]}"
                    yield Case(
                        kind="escape", name=name, data=dialect.file(table), readings=(whole(table),)
                    )


def _line_ends() -> Iterator[Case]:
    for line_end, word in (("\n", "lf"), ("\r\n", "crlf"), ("\r", "cr")):
        for final in (True, False):
            for make in (orders, organogram, sensors, mails):
                table = make(14)
                dialect = Dialect(line_end=line_end, final_line_end=final)
                name = f"{word}-{table.name}{'' if final else '-open'}"
                yield Case(
                    kind="line ends", name=name, data=dialect.file(table), readings=(whole(table),)
                )
    yield from _mixed_line_ends()
    yield from _no_line_ends()


def _mixed_line_ends() -> Iterator[Case]:
    for make in (contacts, spending, sensors):
        for ends in (("\n", "\r\n"), ("\r\n", "\r"), ("\n", "\r\n", "\r")):
            table = make(24)
            rng = seeded(table.name, ends)
            lines = COMMA.lines((table.header, *table.rows))
            data = "".join(line + rng.choice(ends) for line in lines).encode()
            name = f"mixed-{len(ends)}-{ends[0].encode().hex()}-{table.name}"
            yield Case(kind="line ends", name=name, data=data, readings=(whole(table),))


def _no_line_ends() -> Iterator[Case]:
    """Characters that some count as line ends, within cells; and the end mark of old systems."""
    rows = tuple(
        (str(number), f"one\u2028two\x85three\x0bfour{number}", "x\u2029y") for number in range(9)
    )
    table = Table("separators", ("id", "text", "more"), rows)
    for dialect, word in ((COMMA, "bare"), (replace(SEMICOLON, quoting="all"), "quoted")):
        yield Case(
            kind="line ends",
            name=f"unicode-{word}",
            data=dialect.file(table),
            readings=(whole(table),),
        )
    made = orders(8)
    ended = Dialect(line_end="\r\n").file(made) + b"\x1a"
    yield Case(kind="line ends", name="ctrl-z", data=ended, readings=(whole(made),))
    cut = Reading(header=made.header, records=made.rows)
    blank = COMMA.file(made) + b"\n\n\n"
    yield Case(kind="line ends", name="many-at-the-end", data=blank, readings=(cut,))
