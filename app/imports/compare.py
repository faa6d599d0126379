"""A dry run: what `apply` would do to each row. Reads only; a read-only transaction may run it."""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from app.imports import statements
from app.imports.apply import Policy, Tally, refusals
from app.imports.cleaning import Cleaned, Reject
from app.imports.targets import Target

Action = Literal["insert", "update", "unchanged"]


class Change(NamedTuple):
    """What would happen to a row: `fields` has [before, after] of each field that would change.

    Values are text; None is nothing. An attribute is called `attributes.<name>`.
    """

    row_number: int
    key: str
    action: Action
    fields: dict[str, list[Any]]


@dataclass(slots=True)
class Comparison:
    """What a run would come to; `changes` has every row that isn't rejected, in the order of the file."""

    tally: Tally = field(default_factory=Tally)
    changes: list[Change] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)


def compare(
    tx: Connection, target: Target, tenant_id: UUID, cleaned: Cleaned, policy: Policy
) -> Comparison:
    """What `apply` would do now. Writes nothing."""
    if not cleaned.rows:
        return Comparison()
    names = cleaned.names
    arrays = dict(zip(names, cleaned.columns, strict=True))
    found = tx.execute(statements.compare(target, names), {"tenant_id": tenant_id, **arrays})
    changes: list[Change] = []
    refused: list[str] = []
    for row_number, key, there in zip(cleaned.rows, cleaned.keys, found, strict=True):
        if policy is (Policy.INSERT if there.found else Policy.UPDATE):
            refused.append(key)
            continue
        if there.found:
            action: Action = "update" if there.changed else "unchanged"
            fields = _differences(target, names, there.before, there.after)
        else:
            action = "insert"
            fields = {target.key: [None, key]} | _differences(target, names, None, there.after)
        changes.append(Change(row_number, key, action, fields))
    return Comparison(_tally(changes), changes, refusals(target, cleaned, policy, refused))


def _tally(changes: list[Change]) -> Tally:
    actions = [change.action for change in changes]
    return Tally(*(actions.count(action) for action in ("insert", "update", "unchanged")))


def _differences(
    target: Target, names: tuple[str, ...], before: list[Any] | None, after: list[Any]
) -> dict[str, list[Any]]:
    differences: dict[str, list[Any]] = {}
    for name, old, new in zip(names[1:], before or [None] * len(after), after, strict=True):
        if name == target.attributes:
            known, told = old or {}, new or {}
            for attribute, value in told.items():
                if known.get(attribute) != value:
                    differences[f"{name}.{attribute}"] = [known.get(attribute), value]
        elif old != new:
            differences[name] = [old, new]
    return differences
