"""How the text became bytes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tests.corpus.case import Case, Reading, Table, whole
from tests.corpus.dialect import COMMA, SEMICOLON, Dialect
from tests.corpus.tables import contacts, organogram, sensors
from tests.corpus.world import NAMES, encodable, people

KIND = "encoding"
SIZES = (4, 60)
BY_LANGUAGE: Sequence[tuple[str, str]] = (
    *(("german", name) for name in ("cp1252", "iso-8859-1", "iso-8859-15", "cp850", "mac_roman")),
    *(("french", name) for name in ("cp1252", "iso-8859-1", "iso-8859-15", "cp850", "mac_roman")),
    ("typographer", "cp1252"),
    ("typographer", "mac_roman"),
    ("polish", "cp1250"),
    ("polish", "iso-8859-2"),
    ("czech", "cp1250"),
    ("czech", "iso-8859-2"),
    ("russian", "cp1251"),
    ("russian", "iso-8859-5"),
    ("russian", "koi8-r"),
    ("russian", "cp866"),
    ("greek", "cp1253"),
    ("greek", "iso-8859-7"),
    ("japanese", "shift_jis"),
    ("japanese", "euc_jp"),
    ("chinese", "gb18030"),
    ("taiwanese", "big5"),
    ("korean", "euc_kr"),
)
WIDE = (
    ("utf-16-le", b"\xff\xfe"),
    ("utf-16-be", b"\xfe\xff"),
    ("utf-16-le", b""),
    ("utf-16-be", b""),
    ("utf-32-le", b"\xff\xfe\0\0"),
    ("utf-32-be", b"\0\0\xfe\xff"),
    ("utf-8", b"\xef\xbb\xbf"),
)


def _case(name: str, table: Table, dialect: Dialect) -> Case:
    return Case(kind=KIND, name=name, data=dialect.file(table), readings=(whole(table),))


def cases() -> Iterator[Case]:
    yield from _code_pages()
    yield from _unicode()
    yield from _late()
    yield from _invalid()


def _code_pages() -> Iterator[Case]:
    for number, (language, encoding) in enumerate(BY_LANGUAGE):
        for rows in SIZES:
            dialect = replace((COMMA, SEMICOLON)[number % 2], encoding=encoding)
            table = encodable(people(language, rows), encoding)
            yield _case(f"{language}-{encoding}-{rows}", table, dialect)


def _unicode() -> Iterator[Case]:
    for language in NAMES:
        yield _case(f"{language}-utf-8", people(language, 12), COMMA)
    for encoding, mark in WIDE:
        marked = "marked" if mark else "bare"
        for delimiter, line_end in ((",", "\n"), ("\t", "\r\n")):
            dialect = Dialect(delimiter=delimiter, line_end=line_end, encoding=encoding, mark=mark)
            name = f"{encoding}-{marked}-{'tab' if delimiter == '	' else 'comma'}"
            yield _case(name, organogram(20), dialect)
        yield _case(
            f"{encoding}-{marked}-russian", people("russian", 20), replace(dialect, delimiter=";")
        )
        quoted = replace(dialect, delimiter=",", quoting="all")
        yield _case(f"{encoding}-{marked}-quoted", contacts(1), quoted)


def _late() -> Iterator[Case]:
    """The first character that is not ASCII comes after thousands of rows that are."""
    ascii_rows = sensors(3000)
    for encoding in ("utf-8", "cp1252"):
        last = ("Köln, Bärbel Weiß", *ascii_rows.rows[0][1:])
        table = Table("late", ascii_rows.header, (*ascii_rows.rows, last, ascii_rows.rows[5]))
        yield _case(f"late-{encoding}", table, replace(COMMA, encoding=encoding))


def _invalid() -> Iterator[Case]:
    """UTF-8, but for some rows in another encoding."""
    table = contacts(40)
    special = [n for n, row in enumerate(table.rows) if not "".join(row).isascii()]
    chosen = {
        "one": special[5:6],
        "first": special[:1],
        "last": special[-1:],
        "three": special[2:9:3],
    }
    chosen["second-half"] = [n for n in special if n >= 20]
    for name, rows in chosen.items():
        for dialect in (COMMA, replace(SEMICOLON, line_end="\r\n", quoting="all")):
            yield _foreign_rows(f"{name}-{dialect.quoting}", table, dialect, rows)
    yield _broken_byte(table)


def _foreign_rows(name: str, table: Table, dialect: Dialect, rows: Sequence[int]) -> Case:
    ends = dialect.line_end.encode()
    lines = [line.encode() for line in dialect.lines((table.header, *table.rows))]
    for number in rows:
        lines[number + 1] = dialect.line(table.rows[number]).encode("cp1252")
    reading = Reading(
        header=table.header,
        records=table.rows,
        damaged={number: _as_replaced(table, number) for number in rows},
    )
    data = ends.join(lines) + ends
    return Case(kind="invalid bytes", name=f"cp1252-{name}", data=data, readings=(reading,))


def _as_replaced(table: Table, number: int) -> tuple[tuple[str, ...], ...]:
    """Undecodable bytes as a mark of their own, or kept for later."""
    raw = [cell.encode("cp1252") for cell in table.rows[number]]
    return tuple(
        tuple(cell.decode("utf-8", how) for cell in raw)
        for how in ("replace", "surrogateescape", "ignore", "backslashreplace")
    )


def _broken_byte(table: Table) -> Case:
    """A byte that is wrong in any encoding of Western text, in the middle of a cell."""
    lines = [line.encode() for line in COMMA.lines((table.header, *table.rows))]
    lines[20] = lines[20].replace(b"@", b"\xff@", 1)
    reading = Reading(header=table.header, records=table.rows, damaged={19: ()})
    data = b"\n".join(lines) + b"\n"
    return Case(kind="invalid bytes", name="one-byte", data=data, readings=(reading,))
