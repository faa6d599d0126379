"""What PostgreSQL guards is what Python guards: there is one rule, and two that apply it."""

import random

from sqlalchemy import Engine, text

from app.tabular.spreadsheet import guarded, guarded_sql

PIECES = (
    *"=+-@'\"\t\r\n ,;a1.(",
    *"\u3000\xa0\u200b\ufeff\uff1d\uff0b\uff0d\uff20\u2212\u2028\x1c\x85\x0b\x0c\u180e\u2060é漢",
)


def test_both_guard_the_same_cells(engine: Engine) -> None:
    dice = random.Random(5)  # noqa: S311 - the same cells every time
    cells = ["", *(first + rest for first in PIECES for rest in ("", "=1", "5", "x", "'=", "+1"))]
    cells += ["".join(dice.choices(PIECES, k=dice.randrange(1, 6))) for _ in range(20_000)]
    with engine.connect() as tx:
        query = text(
            f"SELECT {guarded_sql('cell')} FROM unnest(CAST(:cells AS text[]))"  # noqa: S608
            " WITH ORDINALITY AS c (cell, n) ORDER BY n"
        )
        found = list(tx.execute(query, {"cells": cells}).scalars())
    differ = {cell: each for cell, each in zip(cells, found, strict=True) if each != guarded(cell)}
    assert differ == {}
