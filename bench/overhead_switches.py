"""What the product doesn't let anybody switch off, switched off: `BENCH_WITHOUT=history,logs`.

Without the variable nothing is changed. The history goes out of the statements' text, so that PostgreSQL does
exactly what is left; a trigger or a rule that threw the rows away would cost more than they do.
"""

import os
import re
from types import ModuleType

from sqlalchemy import TextClause, text

from app.ledger import enqueue, outbox, store
from workers.runtime import trail

WITHOUT = "BENCH_WITHOUT"
_INSERT = "INSERT INTO job_history"
_PART = re.compile(r",\s*logged AS \(\s*INSERT INTO job_history")


def apply() -> None:
    parts = os.environ.get(WITHOUT, "").split(",")
    if "history" in parts:
        for module in (enqueue, outbox, store):
            _forget(module)
    if "logs" in parts:
        vars(trail).update(bind=lambda _: None, unbind=lambda _: None)


def _forget(module: ModuleType) -> None:
    for name, statement in vars(module).items():
        if isinstance(statement, TextClause) and _INSERT in statement.text:
            setattr(module, name, text(without_history(statement.text)))


def without_history(statement: str) -> str:
    """The statement, which writes no history; it touches and returns as many rows as before."""
    found = _PART.search(statement)
    if found is not None:
        begin, end = found.start(), _closing(statement, statement.index("(", found.start()))
        return statement[:begin] + statement[end + 1 :]
    begin = statement.index(_INSERT)
    source = "FROM moved"
    return f"{statement[:begin]}SELECT 1 {source}"


def _closing(statement: str, opening: int) -> int:
    depth = 0
    for place in range(opening, len(statement)):
        depth += {"(": 1, ")": -1}.get(statement[place], 0)
        if depth == 0:
            return place
    raise ValueError("a parenthesis isn't closed")
