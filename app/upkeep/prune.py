"""Forgetting, step by step: each call removes a little and says where the next one goes on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from app.ledger.prune import BATCH
from app.upkeep.kept import Kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a clean-up stands: in `step`, which is None at the end, behind `after`."""

    step: str | None
    after: str | None = None
    removed: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, saved: dict[str, Any] | None, kept: Sequence[Kept]) -> "Place":
        """As a checkpoint kept it; the beginning without one, or where a step has gone since."""
        if saved and saved["step"] in {None, *(one.what for one in kept)}:
            return cls(**saved)
        return cls(step=kept[0].what)


@dataclass(frozen=True, slots=True)
class Round:
    """What one batch came to: the place after it, and what may be deleted in the store once it is
    committed.
    """

    place: Place
    prefixes: Sequence[str] = ()


def prune_some(
    tx: Connection,
    kept: Sequence[Kept],
    place: Place,
    days: Mapping[str, int],
    *,
    batch: int = BATCH,
) -> Round:
    """Do the next batch of the step that `place` is in. `days` are everyone's, by name."""
    names = [one.what for one in kept]
    if place.step is None:
        return Round(place)
    at = names.index(place.step)
    pruned = kept[at].step(tx, place.after, days=days[place.step], batch=batch)
    removed = {**place.removed, place.step: place.removed.get(place.step, 0) + pruned.removed}
    following = place.step if pruned.after is not None else [*names, None][at + 1]
    return Round(Place(step=following, after=pruned.after, removed=removed), pruned.prefixes)
