"""What PostgreSQL's COPY writes is guarded as the cells are one by one: its quotes are those that are expected."""

import csv
import io
import random

from sqlalchemy import Engine, text

from app.exports import copying
from app.exports.rows import take_snapshot
from app.tabular.guarded_rows import guard_rows
from app.tabular.spreadsheet import guarded

PIECES = (
    *"=+-@'\"\t\r\n ,;a1.(\\",
    *"\u3000\xa0\u200b\ufeff\uff1d\uff0b\uff0d\uff20\u2212\u2028\x1c\x85\x0b\x0c\u180e\u2060é漢",
)


def test_cells_of_a_real_copy_are_guarded(engine: Engine) -> None:
    dice = random.Random(5)  # noqa: S311 - the same cells every time
    cells = [first + rest for first in PIECES for rest in ("", "=1", "5", "x", "'=", "+1")]
    cells += ["".join(dice.choices(PIECES, k=dice.randrange(6))) for _ in range(5_000)]
    with engine.begin() as tx:
        tx.execute(
            text(
                "CREATE TABLE cells AS SELECT n, cell, nullif(cell, '=x') AS again"
                " FROM unnest(CAST(:cells AS text[])) WITH ORDINALITY AS c (cell, n)"
            ),
            {"cells": cells},
        )
    with engine.connect() as tx:
        take_snapshot(tx)
        blocks = copying.copy_blocks(tx, "SELECT cell, again, cell FROM cells ORDER BY n")
        rows = b"".join(map(guard_rows, blocks)).decode()
    with engine.begin() as tx:
        tx.execute(text("DROP TABLE cells"))
    found = list(csv.reader(io.StringIO(rows, newline="")))
    again = ["" if cell == "=x" else guarded(cell) for cell in cells]
    assert found == [[guarded(c), a, guarded(c)] for c, a in zip(cells, again, strict=True)]
