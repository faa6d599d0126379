"""Other readers of CSV, each as its users would call it, with its own detection on.

Types are off where that is possible, so that reading is compared and not guessing what a number is:
every cell comes as text, and a missing one as an empty text. These packages are no dependencies of the
product; they are imported from a folder of their own when a reader is first asked for.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from math import isnan
from pathlib import Path
from typing import Any

from tests.corpus.judge import Outcome

SNIFFED_CHARACTERS = 8192
Reader = Callable[[str], Outcome]
Rows = Sequence[Sequence[Any]]


def _outcome(header: Sequence[Any] | None, rows: Rows) -> Outcome:
    names = None if header is None else [_text(name) for name in header]
    return Outcome(header=names, records=[[_text(cell) for cell in row] for row in rows])


def _text(cell: object) -> str:
    missing = cell is None or (isinstance(cell, float) and isnan(cell))
    return "" if missing else str(cell)


def millrace(path: str) -> Outcome:
    from tests.corpus.ours import read

    return read(Path(path).read_bytes(), Path(path).name)


def duckdb(path: str) -> Outcome:
    return _duckdb(path, "")


def duckdb_ignoring(path: str) -> Outcome:
    return _duckdb(path, ", ignore_errors=true")


def duckdb_lenient(path: str) -> Outcome:
    return _duckdb(path, ", strict_mode=false")


def _duckdb(path: str, options: str) -> Outcome:
    """Its sniffer as it is, types included; then what it found, with every column as text."""
    connection = _connection()
    sniffed = connection.execute(f"SELECT * FROM sniff_csv(?{options})", [path])
    found = dict(zip((d[0] for d in sniffed.description), sniffed.fetchone(), strict=True))
    names = [column["name"] for column in found["Columns"]]
    columns = ", ".join(f"{_literal(name)}: 'VARCHAR'" for name in names)
    call = found["Prompt"].rpartition(", columns=")[0]
    rows = connection.execute(f"{call}, columns={{{columns}}}{options})").fetchall()
    return _outcome(names if found["HasHeader"] else None, rows)


@cache
def _connection() -> Any:
    return import_module("duckdb").connect()


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def pandas(path: str) -> Outcome:
    return _pandas(path)


def pandas_sniffing(path: str) -> Outcome:
    return _pandas(path, sep=None, engine="python")


def _pandas(path: str, **options: Any) -> Outcome:
    library = import_module("pandas")
    frame = library.read_csv(path, dtype=str, keep_default_na=False, **options)
    names, rows = list(frame.columns), frame.values.tolist()
    if not isinstance(frame.index, library.RangeIndex):  # it took the first columns for row names
        index = [key if isinstance(key, tuple) else (key,) for key in frame.index.tolist()]
        names = [""] * len(index[0]) + names if index else names
        rows = [[*key, *row] for key, row in zip(index, rows, strict=True)]
    return _outcome(names, rows)


def polars(path: str) -> Outcome:
    frame = import_module("polars").read_csv(path, infer_schema=False)
    return _outcome(frame.columns, frame.rows())


def pyarrow(path: str) -> Outcome:
    library = import_module("pyarrow.csv")
    with library.open_csv(path) as opened:
        names = opened.schema.names
    text = import_module("pyarrow").string()
    convert = library.ConvertOptions(column_types=dict.fromkeys(names, text))
    table = library.read_csv(path, convert_options=convert)
    columns = [column.to_pylist() for column in table.columns]
    return _outcome(names, list(zip(*columns, strict=True)))


def clevercsv(path: str) -> Outcome:
    library = import_module("clevercsv")
    rows = library.read_table(path)
    encoding = import_module("clevercsv.encoding").get_encoding(path)
    with Path(path).open(encoding=encoding, newline="") as file:
        has_header = library.Sniffer().has_header(file.read())
    return _outcome(rows[0], rows[1:]) if has_header else _outcome(None, rows)


def sniffer(path: str) -> Outcome:
    """The example of Python's manual."""
    return _sniffed(path, "utf-8")


def charset_normalizer(path: str) -> Outcome:
    best = import_module("charset_normalizer").from_path(path).best()
    if best is None:
        return Outcome(refused="no encoding fits")
    return _sniffed(path, best.encoding)


def _sniffed(path: str, encoding: str) -> Outcome:
    with Path(path).open(encoding=encoding, newline="") as file:
        sample = file.read(SNIFFED_CHARACTERS)
        file.seek(0)
        dialect = csv.Sniffer().sniff(sample)
        has_header = csv.Sniffer().has_header(sample)
        rows = list(csv.reader(file, dialect))
    return _outcome(rows[0], rows[1:]) if has_header else _outcome(None, rows)


READERS: Mapping[str, tuple[str, Reader]] = {
    "millrace": ("Millrace", millrace),
    "duckdb": ("DuckDB", duckdb),
    "duckdb_ignoring": ("DuckDB, ignore_errors", duckdb_ignoring),
    "duckdb_lenient": ("DuckDB, strict_mode=false", duckdb_lenient),
    "pandas": ("pandas", pandas),
    "pandas_sniffing": ("pandas, sep=None", pandas_sniffing),
    "polars": ("Polars", polars),
    "pyarrow": ("pyarrow", pyarrow),
    "clevercsv": ("clevercsv", clevercsv),
    "sniffer": ("csv + Sniffer", sniffer),
    "charset_normalizer": ("charset-normalizer + csv", charset_normalizer),
}
