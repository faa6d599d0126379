"""The nearest passages to a vector: by pgvector, or by reading every vector. Both find the same.

A tenant of up to EXACT_ROWS passages is always searched exactly: an index over all tenants would have to
skip the others' passages, and might give up before it has found any of a small one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, Row, text

from app.ai.vectors import MAX_INDEXED_DIMENSIONS, literal
from app.errors import Unprocessable

EXACT_ROWS = 20_000
"""pgvector compares so many in some tens of milliseconds."""
READABLE_ROWS = 50_000
"""Without pgvector: at 1,536 dimensions that is 300 MB, a few seconds."""
READ_AT_ONCE = 2_000
PER_SUBJECT = 5
"""Passages of one subject that the index may bring before other subjects are missed."""

# A subject that is gone may have left passages, which the clean-up takes away.
_MINE = """
    FROM ai_passages p
    WHERE p.tenant_id = :tenant_id AND p.kind = :kind AND p.space = :space
      AND EXISTS (SELECT FROM {kind} c WHERE c.id = p.subject_id AND c.tenant_id = :tenant_id)
"""
_COUNT = text("""
    SELECT count(*) FROM (
        SELECT FROM ai_passages
        WHERE tenant_id = :tenant_id AND kind = :kind AND space = :space LIMIT :most) AS counted
""")
# Passage by passage (OFFSET keeps it that way): a join of the whole may be planned as a scan of all tenants' vectors.
_EXACT = """
    WITH mine AS MATERIALIZED (
        SELECT p.subject_id, p.begin_at, p.end_at, p.id {mine}
    ), measured AS MATERIALIZED (
        SELECT m.subject_id, m.begin_at, m.end_at, own.distance
        FROM mine m CROSS JOIN LATERAL (
            SELECT v.embedding::vector({size}) <=> CAST(:query AS vector({size})) AS distance
            FROM ai_vectors v
            WHERE v.passage_id = m.id AND vector_dims(v.embedding) = {size}
            OFFSET 0) own
    )
    SELECT * FROM (
        SELECT DISTINCT ON (subject_id) subject_id, begin_at, end_at, distance
        FROM measured ORDER BY subject_id, distance, begin_at
    ) AS best ORDER BY distance, subject_id LIMIT :limit
"""
_INDEXED = """
    WITH near AS MATERIALIZED (
        SELECT v.passage_id, v.embedding::vector({size}) <=> CAST(:query AS vector({size})) AS distance
        FROM ai_vectors v
        WHERE vector_dims(v.embedding) = {size} AND v.tenant_id = :tenant_id AND v.kind = :kind
        ORDER BY v.embedding::vector({size}) <=> CAST(:query AS vector({size})) LIMIT :near
    ), mine AS (
        SELECT p.subject_id, p.begin_at, p.end_at, p.id {mine}
          AND p.id IN (SELECT passage_id FROM near)
    )
    SELECT * FROM (
        SELECT DISTINCT ON (subject_id) subject_id, begin_at, end_at, distance
        FROM mine JOIN near ON near.passage_id = mine.id ORDER BY subject_id, distance, begin_at
    ) AS best ORDER BY distance, subject_id LIMIT :limit
"""
_READ = """
    SELECT p.subject_id, p.begin_at, p.end_at, r.result
    FROM ai_passages p JOIN ai_results r ON r.tenant_id = p.tenant_id AND r.hash = p.hash
    WHERE p.tenant_id = :tenant_id AND p.kind = :kind AND p.space = :space
      AND octet_length(r.result) = :bytes
      AND EXISTS (SELECT FROM {kind} c WHERE c.id = p.subject_id AND c.tenant_id = :tenant_id)
"""


@dataclass(frozen=True, slots=True)
class Hit:
    """A subject's nearest passage; `score` is 1 where it points the same way as the query."""

    subject_id: UUID
    begin_at: int
    end_at: int
    score: float


def nearest_by_pgvector(
    tx: Connection, tenant_id: UUID, kind: str, space: str, query: Sequence[float], limit: int
) -> list[Hit]:
    """Exact up to EXACT_ROWS passages; beyond, as near as the index finds them."""
    values = {"tenant_id": tenant_id, "kind": str(kind), "space": space, "limit": limit}
    values |= {"query": literal(list(query)), "near": limit * PER_SUBJECT}
    size = len(query)
    indexed = size <= MAX_INDEXED_DIMENSIONS and _more_than(tx, EXACT_ROWS, values)
    if indexed:
        tx.execute(text("SET LOCAL hnsw.iterative_scan = strict_order"))
        tx.execute(text("SET LOCAL hnsw.max_scan_tuples = 200000"))
    template = _INDEXED if indexed else _EXACT
    rows = tx.execute(text(template.format(size=size, mine=_MINE.format(kind=kind))), values)
    return [Hit(row.subject_id, row.begin_at, row.end_at, 1 - row.distance) for row in rows]


def nearest_by_reading(
    tx: Connection, tenant_id: UUID, kind: str, space: str, query: Sequence[float], limit: int
) -> list[Hit]:
    """Exact, a block of vectors at a time. Raises Unprocessable beyond READABLE_ROWS."""
    values = {"tenant_id": tenant_id, "kind": str(kind), "space": space, "bytes": 4 * len(query)}
    if _more_than(tx, READABLE_ROWS, values):
        raise Unprocessable(
            f"More than {READABLE_ROWS} passages can't be searched without pgvector. Install the "
            "extension on the PostgreSQL server and run `millrace migrate`.",
            code="search_needs_pgvector",
        )
    best: dict[UUID, Hit] = {}
    options = {"yield_per": READ_AT_ONCE, "stream_results": True}
    rows = tx.execute(text(_READ.format(kind=kind)), values, execution_options=options)
    for block in rows.partitions():
        for hit in _scores(block, query):
            known = best.get(hit.subject_id)
            if known is None or (-hit.score, hit.begin_at) < (-known.score, known.begin_at):
                best[hit.subject_id] = hit
    return sorted(best.values(), key=lambda hit: (-hit.score, hit.subject_id))[:limit]


def _scores(block: Sequence[Row[tuple[object, ...]]], query: Sequence[float]) -> Iterable[Hit]:
    import numpy as np

    vectors = np.frombuffer(b"".join(bytes(row.result) for row in block), dtype="<f4")
    scores = vectors.reshape(len(block), len(query)) @ np.asarray(query, dtype="<f4")
    for row, score in zip(block, scores.tolist(), strict=True):
        yield Hit(row.subject_id, row.begin_at, row.end_at, score)


def _more_than(tx: Connection, rows: int, values: dict[str, object]) -> bool:
    return bool(tx.execute(_COUNT, {**values, "most": rows + 1}).scalar_one() > rows)
