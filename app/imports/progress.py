"""How fast an import goes, and how long it may still take: from the rate of the last while."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

FADE_SECONDS = 20.0
"""What happened so long ago counts for about a third of what happens now."""
LEAST_SECONDS = 1.0
"""Before that, any rate would be a guess."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """None where nobody can know: before the first chunks are done, and after the end."""

    rows_per_second: float | None
    seconds_left: int | None


def estimate(facts: Mapping[str, Any], now: datetime) -> Estimate:
    """From a row of `imports` and the database's clock. An import that stands still gets slower."""
    if facts["status"] != "running" or facts["ticked_at"] is None:
        return Estimate(None, None)
    quiet = max(0.0, (now - facts["ticked_at"]).total_seconds())
    seconds = facts["recent_seconds"] + quiet
    if not facts["recent_rows"] or seconds < LEAST_SECONDS:
        return Estimate(None, None)
    rate = facts["recent_rows"] / seconds
    left = max(0.0, _rows_in_all(facts) - facts["rows_done"])
    return Estimate(round(rate, 1), round(left / rate))


def _rows_in_all(facts: Mapping[str, Any]) -> float:
    """Counted once the file is planned; until then by how much of it the rows so far took up."""
    total = float(facts["total"])
    if facts["planned_at"] is not None or not facts["bytes_done"]:
        return total
    by_bytes = float(facts["rows_done"]) * facts["bytes_total"] / facts["bytes_done"]
    return float(max(total, by_bytes))
