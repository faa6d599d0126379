"""What tenants may spend, and what they spent.

Before a request its estimate is booked as spent, by one guarded statement, so that any number of workers
together stay within the budget; the answer corrects the booking to what was counted. A worker that dies
in between leaves the estimate standing: maybe it was paid, and nobody will ever know.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from app.ai.failures import BudgetExhausted

_BOOK = text("""
    INSERT INTO ai_spending (tenant_id, month, spent)
    SELECT id, date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date, :cost
    FROM tenants
    WHERE id = :tenant_id AND (:cost <= coalesce(ai_monthly_budget, :budget) OR :cost = 0)
    ON CONFLICT (tenant_id, month) DO UPDATE SET spent = ai_spending.spent + excluded.spent
    WHERE ai_spending.spent + excluded.spent <= (
              SELECT coalesce(ai_monthly_budget, :budget) FROM tenants WHERE id = :tenant_id)
       OR excluded.spent = 0
    RETURNING month, (clock_timestamp() AT TIME ZONE 'UTC')::date AS day
""")
_CORRECT = text("""
    UPDATE ai_spending SET spent = spent + :cost WHERE tenant_id = :tenant_id AND month = :month
""")
_COUNT = text("""
    INSERT INTO ai_usage (tenant_id, day, purpose, model, requests, input_tokens, output_tokens, cost)
    VALUES (:tenant_id, :day, :purpose, :model, :requests, :input_tokens, :output_tokens, :cost)
    ON CONFLICT (tenant_id, day, purpose, model) DO UPDATE
    SET requests = ai_usage.requests + excluded.requests,
        input_tokens = ai_usage.input_tokens + excluded.input_tokens,
        output_tokens = ai_usage.output_tokens + excluded.output_tokens,
        cost = ai_usage.cost + excluded.cost
""")
_STATE = text("""
    SELECT coalesce(t.ai_monthly_budget, :budget) AS budget, coalesce(s.spent, 0) AS spent
    FROM tenants t LEFT JOIN ai_spending s ON s.tenant_id = t.id AND s.month = :month
    WHERE t.id = :tenant_id
""")
_USED = text("""
    SELECT day, purpose, model, requests, input_tokens, output_tokens, cost FROM ai_usage
    WHERE tenant_id = :tenant_id AND day >= :month
      AND day < CAST(:month AS date) + interval '1 month'
    ORDER BY day DESC, purpose, model
""")
_MONTH = text("""
    SELECT month::date, extract(epoch FROM month + interval '1 month' - now)::int AS seconds_left
    FROM (SELECT clock_timestamp() AT TIME ZONE 'UTC' AS now) n
    CROSS JOIN LATERAL (SELECT date_trunc('month', n.now) AS month) m
""")
_SET = text("UPDATE tenants SET ai_monthly_budget = :budget WHERE id = :tenant_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """Of a model."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = Decimal(0)


NONE = Use()


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """An estimate that stands for a request until the answer is there."""

    tenant_id: UUID
    month: date
    day: date
    purpose: str
    model: str
    estimate: Use


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A tenant's month. `spent` has what is reserved for requests under way in it."""

    month: date
    budget: Decimal
    spent: Decimal

    @property
    def left(self) -> Decimal:
        """Never below nothing: the last answer may have cost more than its estimate."""
        return max(self.budget - self.spent, Decimal(0))


def book(
    tx: Connection,
    tenant_id: UUID,
    estimate: Use,
    *,
    purpose: str,
    model: str,
    default_budget: Decimal,
) -> Booking:
    """Reserve what a request may cost. Raises BudgetExhausted, and then nothing is reserved."""
    values = {"tenant_id": tenant_id, "cost": estimate.cost, "budget": default_budget}
    row = tx.execute(_BOOK, values).one_or_none()
    if row is None:
        raise _exhausted(tx, tenant_id, estimate, default_budget)
    booking = Booking(
        tenant_id=tenant_id,
        month=row.month,
        day=row.day,
        purpose=purpose,
        model=model,
        estimate=estimate,
    )
    _count(tx, booking, estimate, requests=1, sign=1)
    return booking


def settle(tx: Connection, booking: Booking, used: Use) -> None:
    """Correct a booking to what the request took."""
    _correct(tx, booking, used)
    _count(tx, booking, used, requests=0, sign=1)
    _count(tx, booking, booking.estimate, requests=0, sign=-1)


def take_back(tx: Connection, booking: Booking) -> None:
    """Undo the booking of a request that cost nothing."""
    _correct(tx, booking, NONE)
    _count(tx, booking, booking.estimate, requests=-1, sign=-1)


def budget_of(
    tx: Connection, tenant_id: UUID, default_budget: Decimal, *, month: date | None = None
) -> Budget:
    """The tenant's month; the current one unless given."""
    month = month or this_month(tx)
    values = {"tenant_id": tenant_id, "budget": default_budget, "month": month}
    row = tx.execute(_STATE, values).one()
    return Budget(month=month, budget=row.budget, spent=row.spent)


def used(tx: Connection, tenant_id: UUID, month: date) -> list[dict[str, Any]]:
    """By day, newest first, purpose and model."""
    rows = tx.execute(_USED, {"tenant_id": tenant_id, "month": month})
    return [dict(row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name


def set_budget(tx: Connection, tenant_id: UUID, budget: Decimal | None) -> None:
    """The tenant's own from now on; None is the settings'."""
    tx.execute(_SET, {"tenant_id": tenant_id, "budget": budget})


def this_month(tx: Connection) -> date:
    """Its first day, in UTC."""
    month: date = tx.execute(_MONTH).one().month
    return month


def _correct(tx: Connection, booking: Booking, used: Use) -> None:
    tx.execute(
        _CORRECT,
        {
            "tenant_id": booking.tenant_id,
            "month": booking.month,
            "cost": used.cost - booking.estimate.cost,
        },
    )


def _count(tx: Connection, booking: Booking, use: Use, *, requests: int, sign: int) -> None:
    tx.execute(
        _COUNT,
        {
            "tenant_id": booking.tenant_id,
            "day": booking.day,
            "purpose": booking.purpose,
            "model": booking.model,
            "requests": requests,
            "input_tokens": sign * use.input_tokens,
            "output_tokens": sign * use.output_tokens,
            "cost": sign * use.cost,
        },
    )


def _exhausted(
    tx: Connection, tenant_id: UUID, estimate: Use, default_budget: Decimal
) -> BudgetExhausted:
    this = tx.execute(_MONTH).one()
    month = budget_of(tx, tenant_id, default_budget, month=this.month)
    return BudgetExhausted(
        f"The AI budget of {month.month:%Y-%m} is used up: {in_figures(month.spent)} of "
        f"{in_figures(month.budget)} are spent or reserved, and the next request may cost "
        f"{in_figures(estimate.cost)}. Raise it with `millrace tenants budget`, or wait for the next "
        "month, and replay what stopped: it goes on where it was.",
        retry_after=max(1, this.seconds_left),
    )


def in_figures(amount: Decimal) -> str:
    """As people write it: no exponent, and no zeros behind it."""
    return f"{amount.normalize():f}"
