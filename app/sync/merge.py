"""The conflict rule, as a pure function.

Fields are merged one by one against the twin as we last knew it. A field that changed on one side takes
that side's value. One that changed on both, to different values, takes that of the contact that was changed
last, by each side's own `updated_at`; at the very same time, the remote's. Empty is a value like any other,
but where the two never met (no base) it gives way to the other's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

FIELDS = ("email", "first_name", "last_name", "company", "phone")

Values = Mapping[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """`conflicts` are the fields in which one side's change was given up."""

    values: dict[str, str | None]
    conflicts: tuple[str, ...]


def merge(
    base: Values | None, local: Values, remote: Values, *, local_at: datetime, remote_at: datetime
) -> Merged:
    """What both sides shall have."""
    values: dict[str, str | None] = {}
    conflicts: list[str] = []
    for field in FIELDS:
        ours, theirs = local.get(field), remote.get(field)
        known = base.get(field) if base is not None else None
        if ours in {theirs, known}:
            values[field] = theirs
        elif theirs == known:
            values[field] = ours
        else:
            values[field] = ours if local_at > remote_at else theirs
            conflicts.append(field)
    return Merged(values=values, conflicts=tuple(conflicts))


def changed(base: Values, local: Values) -> dict[str, str | None]:
    """What there is to send: our fields that differ from the twin's."""
    return {field: local.get(field) for field in FIELDS if local.get(field) != base.get(field)}
