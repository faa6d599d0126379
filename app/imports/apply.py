"""Cleaned rows into a target's table: COPY into a temporary table, then one statement by policy.

That statement also keeps what undo needs: a chunk's rows and the way back commit together.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection

from app.db import driver_connection
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
) -> Applied:
    """Write the tenant's rows; no key may occur twice in them. A row that is as the file says is left alone.

    An empty cell says nothing, so it changes nothing; attributes are merged.
    """
    if not cleaned.rows:
        return Applied(Tally(), [])
    names = cleaned.names
    tx.execute(statements.stage(target, names))
    copying = statements.copy(target, names).encode()
    with driver_connection(tx).cursor() as cursor, cursor.copy(copying) as copy:
        copy.write(copy_text(cleaned.columns))
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
