"""What a new job waits for: other jobs, which have to end before it begins.

A job that waits is released by the commit that ends the last one: by a trigger on `jobs` (migration
`flows`), whatever ends it. The job that ends is locked first and what waits for it looked at then, so that
neither the ends of two nor an end and an enqueue that meet can miss each other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self
from uuid import UUID

from sqlalchemy import Connection, text

from app.errors import NotFound
from app.ledger.state import FINISHED, State

_LOCK = text("""
    SELECT id, state FROM jobs WHERE id = ANY(:ids) AND tenant_id = :tenant_id
    ORDER BY id FOR NO KEY UPDATE
""")
_MARK = text("UPDATE jobs SET awaited = true WHERE id = ANY(:ids) AND NOT awaited")
_EDGES = text("""
    INSERT INTO job_waits (job_id, on_id, tenant_id, otherwise, ended)
    VALUES (:job_id, :on_id, :tenant_id, :otherwise, :ended)
""")


class Otherwise(StrEnum):
    """What becomes of a job when one that it waits for is dead or cancelled. The first such end decides.

    `DIE`: it is dead as well, with the code `prerequisite_failed`, and a replay of that one has it wait
    again. `CANCEL`: it is cancelled, for good. `RUN`: it runs all the same, when all have ended.
    """

    RUN = "run"
    DIE = "die"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Prerequisites:
    """The jobs that a new one waits for, as they stand until this transaction ends."""

    states: Mapping[UUID, State]
    otherwise: Otherwise

    @classmethod
    def of(
        cls, standing: Mapping[UUID, State], after: Iterable[UUID], otherwise: Otherwise
    ) -> Self:
        """Those `after` that are among all that `stand_before` has locked."""
        return cls({on_id: standing[on_id] for on_id in after}, otherwise)

    @property
    def waits_for(self) -> int:
        """How many of them have not ended."""
        return sum(state not in FINISHED for state in self.states.values())

    @property
    def doom(self) -> str | None:
        """What is to become of the job at once, because one of them has failed already."""
        failed = any(state in {State.DEAD, State.CANCELLED} for state in self.states.values())
        return self.otherwise.value if failed and self.otherwise is not Otherwise.RUN else None

    @property
    def begins(self) -> State:
        """Where the new job begins."""
        return State.WAITING if self.waits_for or self.doom else State.SCHEDULED


def stand_before(tx: Connection, tenant_id: UUID, after: Iterable[UUID]) -> dict[UUID, State]:
    """Lock the jobs that are to be waited for, and have their ends look for those that wait.

    Raises NotFound for one that isn't there, or is another tenant's.
    """
    wanted = sorted(set(after))
    if not wanted:
        return {}
    found = tx.execute(_LOCK, {"ids": wanted, "tenant_id": tenant_id})
    states = {row.id: State(row.state) for row in found}
    for job_id in wanted:
        if job_id not in states:
            raise NotFound(f"There is no job {job_id} to wait for.")
    tx.execute(_MARK, {"ids": wanted})
    return states


def add_edges(tx: Connection, tenant_id: UUID, jobs: Mapping[UUID, Prerequisites]) -> None:
    """Record what each new job waits for, in the transaction that adds it."""
    rows = [
        {
            "job_id": job_id,
            "on_id": on_id,
            "tenant_id": tenant_id,
            "otherwise": before.otherwise.value,
            "ended": state.value if state in FINISHED else None,
        }
        for job_id, before in jobs.items()
        for on_id, state in before.states.items()
    ]
    if rows:
        tx.execute(_EDGES, rows)
