"""What language models do for a tenant: search by meaning, labels, and what it cost."""

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, PlainSerializer
from sqlalchemy import text

from app.ai import budget
from app.ai.provider import open_provider
from app.ai.search import search
from app.ai.subjects import Kind
from app.api.bodies import storable
from app.api.pages import Cursor, Limit, Page, decode_id_cursor, page_of
from app.api.problems import describe
from app.api.session import CurrentTenant, EngineDep, SettingsDep, Tx

router = APIRouter(prefix="/v1", tags=["ai"])

_LABELS = text("""
    SELECT subject_id, label, created_at FROM ai_labels
    WHERE tenant_id = :tenant_id AND kind = :kind AND name = :name
      AND (CAST(:label AS text) IS NULL OR label = :label)
      AND (CAST(:after AS uuid) IS NULL OR subject_id > :after)
    ORDER BY subject_id LIMIT :limit
""")

Words = Annotated[
    str, Query(min_length=1, max_length=1000, description="In words."), AfterValidator(storable)
]
Money = Annotated[Decimal, PlainSerializer(budget.in_figures, return_type=str, when_used="json")]
_MONTH = re.compile(r"\d{4}-\d\d")


def _day_of(month: object) -> object:
    """A month, such as 2026-11, is its first day; a day is left as it is."""
    return f"{month}-01" if isinstance(month, str) and _MONTH.fullmatch(month) else month


Which = Annotated[Kind, Query(description="What to look for.")]


class FoundView(BaseModel):
    """Something that was found. `score` is 1 for what means the same, and about 0 for what doesn't."""

    kind: Kind
    id: UUID
    score: float
    title: Annotated[str, Field(description="A document's title, a contact's name.")]
    text: Annotated[str, Field(description="The document's passage; the contact's address.")]


class SearchView(BaseModel):
    """The nearest first. `model` is whose vectors were compared."""

    items: list[FoundView]
    model: str


class LabelView(BaseModel):
    """What a contact or document was classified as."""

    subject_id: UUID
    label: str
    created_at: datetime


class UsageLine(BaseModel):
    """A day's use (UTC) for one purpose. Requests under way count with their estimate."""

    day: date
    purpose: str
    model: str
    requests: int
    input_tokens: int
    output_tokens: int
    cost: Money


class UsageView(BaseModel):
    """A calendar month (UTC), in the currency of the prices that the operator has set."""

    month: date
    budget: Money
    spent: Annotated[Money, Field(description="With what is reserved for requests under way.")]
    left: Money
    items: list[UsageLine]


@router.get("/search", responses=describe(422, 429))
def search_by_meaning(
    tenant_id: CurrentTenant,
    engine: EngineDep,
    settings: SettingsDep,
    q: Words,
    kind: Which = Kind.CONTACTS,
    limit: Annotated[int, Query(ge=1, le=50)] = 10,
) -> SearchView:
    """What means what the words mean. Contacts and documents are found once they are embedded: by the jobs
    `ai.embed_contacts` and `ai.embed_documents`.
    """
    with open_provider(settings) as provider:
        found = search(engine, tenant_id, settings, provider, words=q, kind=kind, limit=limit)
        items = [
            FoundView(kind=kind, id=each.id, score=each.score, title=each.title, text=each.text)
            for each in found
        ]
        return SearchView(items=items, model=provider.space)


@router.get("/ai/labels", responses=describe(400, 422))
def list_labels(
    tenant_id: CurrentTenant,
    tx: Tx,
    name: Annotated[str, Query(max_length=100, description="Of the classification.")],
    kind: Which = Kind.CONTACTS,
    label: Annotated[str | None, Query(max_length=100)] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[LabelView]:
    """What the job `ai.classify` found, by the contact's or document's id."""
    values = {
        "tenant_id": tenant_id,
        "kind": kind.value,
        "name": name,
        "label": label,
        "after": decode_id_cursor(cursor),
        "limit": limit + 1,
    }
    items = [
        LabelView.model_validate(row, from_attributes=True) for row in tx.execute(_LABELS, values)
    ]
    return page_of(items, lambda item: item.subject_id, limit)


@router.get("/ai/usage", responses=describe(400, 422))
def get_usage(
    tenant_id: CurrentTenant,
    tx: Tx,
    settings: SettingsDep,
    month: Annotated[
        date | None,
        BeforeValidator(_day_of),
        Query(description="Such as 2026-11, or any day of it; the current one if left out."),
    ] = None,
) -> UsageView:
    """What a month's requests cost, and what is left of the budget."""
    first = (month or budget.this_month(tx)).replace(day=1)
    state = budget.budget_of(tx, tenant_id, settings.ai_monthly_budget, month=first)
    return UsageView(
        month=first,
        budget=state.budget,
        spent=state.spent,
        left=state.left,
        items=[UsageLine.model_validate(line) for line in budget.used(tx, tenant_id, first)],
    )
