"""Files in the manners of well-known programs: accounting, banks, databases, spreadsheets, lists of contacts."""

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from tests.corpus.case import Case, Reading, whole
from tests.corpus.dialect import COMMA, Dialect, plain
from tests.corpus.tables import contacts, organogram, products, sensors, spending

KIND = "exports of programs"
WINDOWS = Dialect(delimiter=";", encoding="cp1252", line_end="\r\n")
TAB = Dialect(delimiter="\t")


def cases() -> Iterator[Case]:
    yield from _accounting()
    yield from _consoles()
    yield from _put_together()
    yield from _saved_again()
    yield from _nulls()
    yield from _endings()
    yield from _single_columns()
    yield from _headers()
    for name, data in _no_tables().items():
        yield Case(kind=KIND, name=name, data=data, readings=())


def _case(name: str, data: bytes, *readings: Reading) -> Case:
    return Case(kind=KIND, name=name, data=data, readings=readings)


def _accounting() -> Iterator[Case]:
    """Above the header: a line about the file with more cells than a row, or keys, values and a sentence."""
    about = '"EXTF";700;21;"Stock";13;20240131140440439;;"RE";"";"";29098;55003;20240101;4;20240101;20240831'
    bank = (
        *("Transactions;Made at: 05.01.2024 10:01", "", "IBAN;DE12 3456 7890", "Account;Current"),
        *("Customer;Max Mustermann", "Period;01.01.2024 - 31.01.2024", "Balance;1.234,56;EUR", ""),
        *("Order;newest first", "", "Here are all bookings. Those to come are not among them.", ""),
    )
    named = (
        '"Account:";"DE123 / Current";',
        "",
        '"From:";"01.01.2024";',
        '"To:";"31.01.2024";',
        "",
    )
    for make in (spending, products, contacts, sensors):
        table = make(25)
        lines = WINDOWS.lines((table.header, *table.rows))
        ways: Mapping[str, Sequence[str]] = {"ledger": (about,), "bank": bank, "named": named}
        for way, above in ways.items():
            yield _case(f"{way}-{table.name}", WINDOWS.join((*above, *lines)), whole(table))


def _consoles() -> Iterator[Case]:
    """What database consoles print: lines drawn with dashes, cells filled up with spaces, bars at the edges."""
    for make in (products, contacts):
        table = plain(make(20), "|;,\t")
        sizes = [max(map(len, column)) for column in zip(table.header, *table.rows, strict=True)]
        rows = [
            tuple(f"{cell:{size}}" for cell, size in zip(row, sizes, strict=True))
            for row in (table.header, *table.rows)
        ]
        dashes = ["-" * size for size in sizes]
        box = "+-" + "-+-".join(dashes) + "-+"
        psql = [f" {' | '.join(row)} " for row in rows]
        bars = [f"| {' | '.join(row)} |" for row in rows]
        ways = {
            "psql": [psql[0], "-" + "-+-".join(dashes) + "-", *psql[1:], "(20 rows)", ""],
            "mysql": [box, bars[0], box, *bars[1:], box, "20 rows in set (0.00 sec)"],
            "markdown": [bars[0], "| " + " | ".join(dashes) + " |", *bars[1:]],
            "sqlcmd": [",".join(row) for row in (rows[0], dashes, *rows[1:])],
            "sqlplus": ["", *(";".join(row) for row in (rows[0], dashes, *rows[1:])), "", "20 rows selected."],
            "list": ["05.01.2024       List of stock       1", box.replace("+", "-"), bars[0], box.replace("+", "-"), *bars[1:], box.replace("+", "-")],
        }  # fmt: skip
        for way, lines in ways.items():
            yield _case(
                f"{way}-{table.name}", COMMA.join(lines), replace(whole(table), padded=True)
            )


def _put_together() -> Iterator[Case]:
    """Files in one behind another, each with its mark or its header; pages; text in two encodings."""
    for make in (products, contacts):
        table = make(24)
        parts = [table.rows[at : at + 8] for at in range(0, 24, 8)]
        for mark, word in ((b"\xef\xbb\xbf", "marks"), (b"\x0c", "pages")):
            headed = [mark + COMMA.file(replace(table, rows=rows)) for rows in parts]
            yield _case(f"{word}-headed-{table.name}", b"".join(headed), whole(table))
            bare = [headed[0], *(mark + COMMA.join(COMMA.lines(rows)) for rows in parts[1:])]
            yield _case(f"{word}-{table.name}", b"".join(bare), whole(table))
        marks = replace(COMMA, mark=b"\xef\xbb\xbf" * 2).file(table)
        yield _case(f"two-marks-{table.name}", marks, whole(table))
        wide = replace(COMMA, encoding="utf-16-le")
        data = COMMA.file(replace(table, rows=parts[0])) + wide.join(wide.lines(parts[1]))
        first, second = len(parts[0]), len(parts[0]) + len(parts[1])
        reading = Reading(
            header=table.header,
            records=table.rows[:second],
            damaged={at: (table.rows[at],) for at in range(first, second)},
        )
        yield replace(_case(f"appended-{table.name}", data, reading), may_refuse=True)


def _saved_again() -> Iterator[Case]:
    """Opened by a spreadsheet as if it had another delimiter, and saved: rows in one cell, and cells behind them."""
    quoting = Dialect(delimiter=";", line_end="\r\n")
    for make in (products, contacts, spending):
        table = make(25)
        lines = COMMA.lines((table.header, *table.rows))
        some = [quoting.line((line,)) for line in lines]
        every = [quoting.quoted(line) for line in lines]
        flat = COMMA.lines(plain(table, ',"').rows)
        head = COMMA.lines((table.header,))
        yield _case(f"wrapped-some-{table.name}", quoting.join(some), whole(table))
        yield _case(f"wrapped-{table.name}", quoting.join(every), whole(table))
        tailed = quoting.join(f"{line};;;" for line in every)
        yield _case(f"wrapped-tail-{table.name}", tailed, whole(table))
        tail = quoting.join(f"{line};;" for line in (*head, *flat))
        if ";" not in "".join(flat):
            yield _case(
                f"tail-{table.name}", tail, whole(replace(table, rows=plain(table, ',"').rows))
            )


def _nulls() -> Iterator[Case]:
    r"""Backslashes as MySQL and PostgreSQL write them; `\N` is nothing, and never an N."""
    table = plain(products(30), '\t"\\')
    for step in (2, 3):
        rows = tuple(
            row if at % step else (*row[:3], "", row[4]) for at, row in enumerate(table.rows)
        )
        empty = Reading(header=table.header, records=rows)
        nulls = tuple((*row[:3], row[3] or r"\N", row[4]) for row in rows)
        written = Reading(header=table.header, records=nulls)
        copied = TAB.join(TAB.lines((table.header, *nulls)))
        yield _case(f"copy-{step}", copied, written, empty)
        lines = [TAB.line(table.header)]
        for sku, name, price, currency, stock in rows:
            lines.append("\t".join((sku, f"{name}\\\tnew", price, currency or r"\N", stock)))
        tabbed = tuple((row[0], f"{row[1]}\tnew", *row[2:]) for row in rows)
        yield _case(
            f"outfile-{step}", TAB.join(lines), Reading(header=table.header, records=tabbed)
        )
        quoted = [COMMA.line(table.header)]
        for sku, name, price, currency, stock in rows:
            quoted.append(f'"{sku}","{name} \\"S\\"",{price},{currency or chr(92) + "N"},"{stock}"')
        sized = tuple((row[0], f'{row[1]} "S"', *row[2:]) for row in rows)
        yield _case(
            f"enclosed-{step}", COMMA.join(quoted), Reading(header=table.header, records=sized)
        )


def _endings() -> Iterator[Case]:
    """Several blank lines and then who made it, when, and for whom; a total in a table of two columns."""
    notes = (
        "Contacts & Accounts",
        "Copyright (c) 2000-2024 A Company, inc.",
        "Do Not Distribute",
        "ACME",
    )
    for make in (contacts, spending, organogram):
        table = make(20)
        lines = Dialect(quoting="all").lines((table.header, *table.rows))
        data = COMMA.join((*lines, "", "", "", *(f'"{note}"' for note in notes)))
        yield _case(f"notes-{table.name}", data, whole(table))


def _single_columns() -> Iterator[Case]:
    """One column of what has commas or spaces in it."""
    streets = (
        "12 High St, London",
        "Flat 3, 4 Low Rd, Leeds",
        "Mill House",
        "1 Elm Ct, Bath, UK",
        "Farm",
    )
    columns: Mapping[str, tuple[str, Sequence[str]]] = {
        "addresses": ("address", streets * 4),
        "names": ("Full name", [f"{name}, Anna" for name in ("Lee", "Kim", "Roy", "Fox")] * 5),
        "phones": ("Telefon", [f"+49 170 12345{number:02d}" for number in range(20)]),
    }
    for name, (header, cells) in columns.items():
        reading = Reading(header=(header,), records=tuple((cell,) for cell in cells))
        yield _case(name, COMMA.join((header, *cells)), reading)


def _headers() -> Iterator[Case]:
    """A first column without a name that counts the rows; every row with more commas than the header, for want of
    doubled quotes."""
    for make in (contacts, products):
        table = plain(make(20), ',"')
        rows = tuple((str(number), *row) for number, row in enumerate(table.rows, 1))
        made = [",".join(f'"{name}"' for name in table.header), *COMMA.lines(rows)]
        reading = Reading(header=("", *table.header), records=rows)
        yield _case(f"row-names-{table.name}", COMMA.join(made), reading)
        cells = tuple((row[0], f'It is "big, red" here {row[1]}', row[2]) for row in table.rows)
        lines = [f'{first},"{second}",{third}' for first, second, third in cells]
        head = ",".join(table.header[:3])
        reading = Reading(header=table.header[:3], records=cells)
        yield _case(f"undoubled-{table.name}", COMMA.join((head, *lines)), reading)


def _no_tables() -> Mapping[str, bytes]:
    card = "BEGIN:VCARD\nVERSION:3.0\nN:Lee;Ann;;;\nEMAIL:ann@example.org\nEND:VCARD\n"
    dump = (
        "-- MySQL dump 10.13\n\nCREATE TABLE `c` (`id` int);\nINSERT INTO `c` VALUES (1,'x, y');\n"
    )
    texts = {
        "lines-of-json": "".join(json.dumps([n, "x", "y"]) + "\n" for n in range(9)),
        "comment-of-html": "<!-- export --><style>td{x}</style><table><tr><td>a</td></tr></table>",
        "font": '<font face="Arial"><table><tr><th>id</th></tr></table></font>',
        "records-of-xml": '<records>\n <record id="1"><name>Ann</name></record>\n</records>\n',
        "web-archive": "MIME-Version: 1.0\nContent-Type: multipart/related; boundary=x\n\n--x\n",
        "message": "Return-Path: <ann@example.org>\nSubject: Kunden, Liste\n\nHi Bob,\nbye, Ann\n",
        "cards": card * 5,
        "dump": dump,
        "pointer": "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    }
    packed = {
        f"{name}-packed": gzip.compress(text.encode(), mtime=0) for name, text in texts.items()
    }
    return {name: text.encode() for name, text in texts.items()} | packed
