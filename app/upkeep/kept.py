"""What is kept for a while after its end, and for how long: the tenant's own choice, everyone's, the release's."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from sqlalchemy import Connection, text

from app.ids import SYSTEM_TENANT
from app.ledger.prune import Pruned

_CHOSEN = text("""
    SELECT what, days FROM retention WHERE tenant_id = :tenant_id
""")
_CHOOSE = text("""
    INSERT INTO retention (tenant_id, what, days) VALUES (:tenant_id, :what, :days)
    ON CONFLICT (tenant_id, what) DO UPDATE SET days = excluded.days
""")
_FORGET = text("DELETE FROM retention WHERE tenant_id = :tenant_id AND what = :what")


class Step(Protocol):
    """Removes a batch of what ended longer ago than `days`, or than its tenant's own days in the table
    `retention`; `after` is what the batch before returned, None at first.
    """

    def __call__(self, tx: Connection, after: str | None, *, days: int, batch: int) -> Pruned:
        """See the class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One kind of thing. `days` is the release's default, None the setting `retention_days`.

    `per_tenant` says whether a tenant may choose; `what` is how operators call it, and stored.
    """

    what: str
    about: str
    step: Step
    days: int | None = None
    per_tenant: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """How long one kind of thing is kept, and who says so: `tenant`, `everyone` or `release`."""

    what: str
    about: str
    days: int
    source: str


def terms(
    tx: Connection, kept: Iterable[Kept], *, default: int, tenant_id: UUID = SYSTEM_TENANT
) -> list[Term]:
    """In force for the tenant; of the system tenant, for everyone without a choice of their own.

    `default` is the setting `retention_days`.
    """
    own = {} if tenant_id == SYSTEM_TENANT else _chosen(tx, tenant_id)
    all_tenants = _chosen(tx, SYSTEM_TENANT)
    found: list[Term] = []
    for one in kept:
        days, source = default if one.days is None else one.days, "release"
        if one.what in all_tenants:
            days, source = all_tenants[one.what], "everyone"
        if one.what in own and one.per_tenant:
            days, source = own[one.what], "tenant"
        found.append(Term(what=one.what, about=one.about, days=days, source=source))
    return found


def choose(tx: Connection, tenant_id: UUID, what: str, days: int | None) -> None:
    """Keep `what` for so many days from now on; None is the default again."""
    facts = {"tenant_id": tenant_id, "what": what}
    tx.execute(
        _FORGET if days is None else _CHOOSE, facts if days is None else {**facts, "days": days}
    )


def _chosen(tx: Connection, tenant_id: UUID) -> dict[str, int]:
    return {row.what: row.days for row in tx.execute(_CHOSEN, {"tenant_id": tenant_id})}
