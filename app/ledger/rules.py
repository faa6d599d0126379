"""What an operator has decided about whose jobs are sent: pauses, limits, weights. Kept in the database, and
read by every dispatcher in every round.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Connection, Row, text

_LOAD = text("""
    SELECT scope, name, paused_at, paused_reason, max_running, weight FROM dispatch_rules
    ORDER BY scope, name
""")
_PAUSE = text("""
    INSERT INTO dispatch_rules (scope, name, paused_at, paused_reason)
    VALUES (:scope, :name, clock_timestamp(), :reason)
    ON CONFLICT (scope, name) DO UPDATE
    SET paused_at = coalesce(dispatch_rules.paused_at, excluded.paused_at),
        paused_reason = excluded.paused_reason
""")
_RESUME = text("""
    WITH resumed AS (
        UPDATE dispatch_rules SET paused_at = NULL, paused_reason = NULL
        WHERE scope = :scope AND name = :name
    )
    SELECT pg_notify('millrace_outbox', '')
""")
_LIMIT = text("""
    WITH changed AS (
        INSERT INTO dispatch_rules (scope, name, max_running, weight)
        VALUES (:scope, :name, :max_running, :weight)
        ON CONFLICT (scope, name) DO UPDATE
        SET max_running = excluded.max_running, weight = excluded.weight
    )
    SELECT pg_notify('millrace_outbox', '')
""")
_FORGET = text("""
    DELETE FROM dispatch_rules
    WHERE scope = :scope AND name = :name
      AND paused_at IS NULL AND max_running IS NULL AND weight IS NULL
""")


class Scope(StrEnum):
    """What a rule is about. A plan's limit and weight are those of each tenant on it without its own."""

    QUEUE = "queue"
    KIND = "kind"
    TENANT = "tenant"
    PLAN = "plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """About one queue, kind, tenant (its id) or plan."""

    scope: Scope
    name: str
    paused_at: datetime | None
    paused_reason: str | None
    max_running: int | None
    weight: int | None


@dataclass(frozen=True, slots=True)
class Rules:
    """All of them."""

    by_name: Mapping[tuple[Scope, str], Rule] = field(default_factory=dict)

    @classmethod
    def of(cls, rules: Iterable[Rule]) -> Self:
        """These."""
        return cls({(rule.scope, rule.name): rule for rule in rules})

    @property
    def limited(self) -> bool:
        """Whether anybody must count what is running."""
        return any(rule.max_running is not None for rule in self.by_name.values())

    @property
    def limited_kinds(self) -> set[str]:
        """Of which some may be in flight, and not as many as there are."""
        return {kind for kind, most in self.limits(Scope.KIND).items() if most}

    @property
    def by_plan(self) -> bool:
        """Whether it matters which plan a tenant is on."""
        return any(scope is Scope.PLAN for scope, _ in self.by_name)

    def paused(self, scope: Scope) -> list[str]:
        """The names of those that are paused."""
        return [
            name
            for (of, name), rule in self.by_name.items()
            if of is scope and rule.paused_at is not None
        ]

    def holding(self, *, queue: str, kind: str, tenant_id: UUID) -> list[Rule]:
        """The pauses because of which such a job isn't sent."""
        names = ((Scope.QUEUE, queue), (Scope.KIND, kind), (Scope.TENANT, str(tenant_id)))
        rules = (self.by_name.get(name) for name in names)
        return [rule for rule in rules if rule is not None and rule.paused_at is not None]

    def limits(self, scope: Scope) -> dict[str, int]:
        """How many jobs of each may be in flight."""
        return {
            name: rule.max_running
            for (of, name), rule in self.by_name.items()
            if of is scope and rule.max_running is not None
        }

    def weight(self, tenant_id: UUID, plan: str | None) -> int:
        """How many jobs it has in a turn."""
        own, plans = self._of_tenant(tenant_id, plan)
        return (own and own.weight) or (plans and plans.weight) or 1

    def max_running(self, tenant_id: UUID, plan: str | None) -> int | None:
        """How many of its jobs may be in flight; None is without limit."""
        for rule in self._of_tenant(tenant_id, plan):
            if rule is not None and rule.max_running is not None:
                return rule.max_running
        return None

    def _of_tenant(self, tenant_id: UUID, plan: str | None) -> tuple[Rule | None, Rule | None]:
        if not self.by_name:
            return None, None
        own = self.by_name.get((Scope.TENANT, str(tenant_id)))
        return own, None if plan is None else self.by_name.get((Scope.PLAN, plan))


def load_rules(tx: Connection) -> Rules:
    """As they stand."""
    return Rules.of(map(rule_of, tx.execute(_LOAD)))


def rule_of(row: Row[Any]) -> Rule:
    """The rule in a row that has its columns."""
    return Rule(
        scope=Scope(row.scope),
        name=row.name,
        paused_at=row.paused_at,
        paused_reason=row.paused_reason,
        max_running=row.max_running,
        weight=row.weight,
    )


def pause(tx: Connection, scope: Scope, name: str, *, reason: str) -> None:
    """Send none of its jobs from the next round on, until `resume`. What was sent already runs."""
    tx.execute(_PAUSE, {"scope": scope, "name": name, "reason": reason})


def resume(tx: Connection, scope: Scope, name: str) -> None:
    """Send its jobs again; nothing happens when it isn't paused."""
    tx.execute(_RESUME, {"scope": scope, "name": name})
    tx.execute(_FORGET, {"scope": scope, "name": name})


def set_limits(
    tx: Connection, scope: Scope, name: str, *, max_running: int | None, weight: int | None
) -> None:
    """How many of its jobs may be in flight, and its weight; None is no limit, and the plan's weight."""
    facts = {"max_running": max_running, "weight": weight}
    tx.execute(_LIMIT, {"scope": scope, "name": name, **facts})
    tx.execute(_FORGET, {"scope": scope, "name": name})
