"""Cleaned rows into a target's table. Rows that are all new go there by COPY alone, which costs the server
less than half; others by COPY into a temporary table, and then by one statement that follows the policy.

What undo needs is kept with them: a chunk's rows and the way back commit together.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg.errors import UniqueViolation
from sqlalchemy import Connection

from app.db import driver_connection
from app.ids import new_id_text
from app.imports import statements
from app.imports.cleaning import Cleaned, Reject
from app.imports.statements import Policy
from app.imports.targets import Target

__all__ = ["Applied", "Policy", "Tally", "UndoSink", "apply", "refusals"]

_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_SPECIAL = re.compile(r"[\\\t\n\r]")


@dataclass(frozen=True, slots=True)
class Tally:
    """How many rows did what."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0


@dataclass(frozen=True, slots=True)
class UndoSink:
    """The row of `import_chunks` that keeps what undo needs: `applied_at`, `inserted_ids`, `before`."""

    import_id: UUID
    index: int


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of the rows; `rejects` are those that the policy refused."""

    tally: Tally
    rejects: list[Reject]


def apply(
    tx: Connection,
    target: Target,
    tenant_id: UUID,
    cleaned: Cleaned,
    policy: Policy,
    *,
    undo: UndoSink | None = None,
    perhaps_new: bool = True,
) -> Applied:
    """Write the tenant's rows; no key may occur twice in them. A row that is as the file says is left alone.

    An empty cell says nothing, so it changes nothing; attributes are merged. `perhaps_new`: it is worth a try
    to add all of them at once, which comes to nothing at the first key that is there.
    """
    if not cleaned.rows:
        return Applied(Tally(), [])
    if perhaps_new and policy is not Policy.UPDATE and _add(tx, target, tenant_id, cleaned, undo):
        return Applied(Tally(inserted=len(cleaned.rows)), [])
    names = cleaned.names
    tx.execute(statements.stage(target, names))
    _copy(tx, statements.copy(target, names), cleaned.columns)
    parameters: dict[str, object] = {"tenant_id": tenant_id}
    if undo is not None:
        columns = statements.image_columns(names)
        parameters |= {"import_id": undo.import_id, "index": undo.index}
        parameters["image_columns"] = json.dumps(columns)
    statement = statements.apply(target, names, policy, keep=undo is not None)
    done = tx.execute(statement, parameters).one()
    tx.execute(statements.unstage(target))
    rejects = refusals(target, cleaned, policy, done.refused or [])
    unchanged = len(cleaned.rows) - done.inserted - done.updated - len(rejects)
    return Applied(Tally(done.inserted, done.updated, unchanged), rejects)


def _add(
    tx: Connection, target: Target, tenant_id: UUID, cleaned: Cleaned, undo: UndoSink | None
) -> bool:
    """Insert all rows; False, and none is, when one of the keys is there. Rows are taken in the order in
    which the statements take theirs.
    """
    order = sorted(range(len(cleaned.rows)), key=cleaned.keys.__getitem__)
    ids = [new_id_text() for _ in order]
    values = [list(map(column.__getitem__, order)) for column in cleaned.columns]
    try:
        with tx.begin_nested():
            adding = statements.add(target, cleaned.names)
            _copy(tx, adding, [ids, [str(tenant_id)] * len(ids), *values])
    except UniqueViolation:
        return False
    if undo is not None:
        kept = {"import_id": undo.import_id, "index": undo.index, "ids": f"{{{','.join(ids)}}}"}
        tx.execute(statements.KEEP_ADDED, kept)
    return True


def _copy(tx: Connection, statement: str, columns: Sequence[Sequence[str]]) -> None:
    with driver_connection(tx).cursor() as cursor, cursor.copy(statement.encode()) as copy:
        copy.write(copy_text(columns))


def copy_text(columns: Sequence[Sequence[str]]) -> bytes:
    """The rows in COPY's text format, where nothing between two tabs is NULL."""
    text = "\n".join(map("\t".join, zip(*columns, strict=True)))
    rows = len(columns[0])
    plain = text.count("\t") == rows * (len(columns) - 1) and text.count("\n") == rows - 1
    if not plain or "\\" in text or "\r" in text:
        escaped = [_escaped(column) for column in columns]
        text = "\n".join(map("\t".join, zip(*escaped, strict=True)))
    return f"{text}\n".encode()


def _escaped(column: Sequence[str]) -> Sequence[str]:
    if not _SPECIAL.search("".join(column)):
        return column
    return [cell.translate(_ESCAPES) if _SPECIAL.search(cell) else cell for cell in column]


def refusals(target: Target, cleaned: Cleaned, policy: Policy, keys: Sequence[str]) -> list[Reject]:
    """The rows with these keys, as rejects; in the order of the file."""
    if not keys:
        return []
    label = target.key_field.label
    if policy is Policy.INSERT:
        code, why = (
            "exists",
            f"There is one with this {label} already; this import only adds new ones.",
        )
    else:
        code, why = (
            "not_found",
            f"There is none with this {label}; this import only changes those that are there.",
        )
    refused = set(keys)
    return [
        cleaned.reject(position, code, why)
        for position, key in enumerate(cleaned.keys)
        if key in refused
    ]
