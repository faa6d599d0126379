"""Finding contacts and documents by what they mean."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from app.ai import vectors
from app.ai.buying import Buyer, embed
from app.ai.failures import Contended, Paced
from app.ai.nearest import Hit, nearest_by_pgvector, nearest_by_reading
from app.ai.provider import Provider
from app.ai.results import content_hash, normalised, unpacked
from app.ai.subjects import Kind
from app.ids import new_id
from app.settings import Settings

PATIENCE_SECONDS = 3.0
"""How long a search waits for its turn, or for another that asks the same."""

_CONTACTS = text("""
    SELECT id, coalesce(nullif(concat_ws(' ', first_name, last_name), ''), email) AS title,
           concat_ws(', ', email, company) AS words
    FROM contacts WHERE tenant_id = :tenant_id AND id = ANY(:ids)
""")
_DOCUMENTS = text("""
    SELECT d.id, d.title, substr(d.text, p.begin_at + 1, p.end_at - p.begin_at) AS words
    FROM unnest(CAST(:ids AS uuid[]), CAST(:begins AS int[]), CAST(:ends AS int[]))
         AS p(id, begin_at, end_at)
    JOIN documents d ON d.id = p.id AND d.tenant_id = :tenant_id
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A subject and its passage that is nearest; `score` is the cosine of the angle, 1 at most."""

    id: UUID
    score: float
    title: str
    text: str


def search(
    engine: Engine,
    tenant_id: UUID,
    settings: Settings,
    provider: Provider,
    *,
    words: str,
    kind: Kind,
    limit: int,
) -> list[Found]:
    """The `limit` subjects whose text is nearest to the words, the nearest first.

    Raises AiFailure, BudgetExhausted, and Unprocessable for more than can be searched without pgvector.
    No transaction is open while the provider is asked.
    """
    buyer = Buyer(
        tenant_id=tenant_id,
        owner=new_id(),
        purpose="search",
        settings=settings,
        provider=provider,
        engine=engine,
    )
    query = _vector(buyer, normalised(words))
    with engine.begin() as tx:
        by = nearest_by_pgvector if vectors.has_vectors(tx) else nearest_by_reading
        hits = by(tx, tenant_id, kind, provider.space, unpacked(query), limit)
        shown = _shown(tx, tenant_id, kind, hits)
    return [
        Found(id=hit.subject_id, score=hit.score, title=title, text=passage)
        for hit in hits
        for title, passage in [shown.get(hit.subject_id, ("", ""))]
        if hit.subject_id in shown
    ]


def _vector(buyer: Buyer, words: str) -> bytes:
    """The query's, from what is known or bought; waits for a moment where that helps."""
    key = content_hash("embedding", buyer.provider.space, words)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return embed(buyer, {key: words}).vectors[key]
        except (Contended, Paced) as busy:
            pause = min(busy.seconds, 0.5) if isinstance(busy, Paced) else 0.1
            if time.monotonic() + pause > deadline:
                raise
            time.sleep(pause)


def _shown(
    tx: Connection, tenant_id: UUID, kind: Kind, hits: list[Hit]
) -> Mapping[UUID, tuple[str, str]]:
    values = {
        "tenant_id": tenant_id,
        "ids": [hit.subject_id for hit in hits],
        "begins": [hit.begin_at for hit in hits],
        "ends": [hit.end_at for hit in hits],
    }
    rows = tx.execute(_CONTACTS if kind is Kind.CONTACTS else _DOCUMENTS, values)
    return {row.id: (row.title, row.words) for row in rows}
