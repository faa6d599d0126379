"""pgvector, where the server has it: vectors beside the passages, and an index over them.

`millrace migrate` prepares it each time: a server may get the extension later, and the index is for the
dimensions that the vectors turn out to have. Without it search reads the vectors themselves.
"""

from collections.abc import Mapping
from itertools import groupby
from uuid import UUID

import structlog
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from app.ai.results import unpacked
from app.ai.subjects import Kind

log = structlog.get_logger()

MAX_INDEXED_DIMENSIONS = 2000
"""pgvector's own limit for a vector's index."""
FILL_BATCH = 1000

_AVAILABLE = text("SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector')")
_HAS_TYPE = text("SELECT to_regtype('vector') IS NOT NULL")
_HAS_TABLE = text("SELECT to_regclass('ai_vectors') IS NOT NULL")
_TABLE = text("""
    CREATE TABLE IF NOT EXISTS ai_vectors (
        passage_id uuid PRIMARY KEY REFERENCES ai_passages (id) ON DELETE CASCADE,
        tenant_id uuid NOT NULL,
        kind text NOT NULL,
        embedding vector NOT NULL)
""")
_MISSING = text("""
    SELECT p.id, p.tenant_id, p.kind, r.result FROM ai_passages p
    JOIN ai_results r ON r.tenant_id = p.tenant_id AND r.hash = p.hash
    WHERE r.result IS NOT NULL AND NOT EXISTS (SELECT FROM ai_vectors v WHERE v.passage_id = p.id)
    LIMIT :batch
""")
_KEEP = text("""
    INSERT INTO ai_vectors (passage_id, tenant_id, kind, embedding)
    SELECT id, :tenant_id, :kind, CAST(embedding AS vector)
    FROM unnest(CAST(:ids AS uuid[]), CAST(:embeddings AS text[])) AS v(id, embedding)
    ON CONFLICT (passage_id) DO NOTHING
""")
_DIMENSIONS = text("SELECT DISTINCT vector_dims(embedding) AS size FROM ai_vectors")
_INDEX = """
    CREATE INDEX IF NOT EXISTS ix_ai_vectors_embedding_{size} ON ai_vectors
    USING hnsw ((embedding::vector({size})) vector_cosine_ops) WHERE vector_dims(embedding) = {size}
"""


def has_vectors(tx: Connection) -> bool:
    """Whether search can leave the work to pgvector."""
    return bool(tx.execute(_HAS_TABLE).scalar_one())


def prepare(tx: Connection) -> bool:
    """Make what pgvector needs, as far as the server lets us; fill it, and index it. Safe to repeat.

    Returns whether it is there.
    """
    if not _has_extension(tx):
        return False
    tx.execute(_TABLE)
    while rows := tx.execute(_MISSING, {"batch": FILL_BATCH}).all():
        for (tenant_id, kind), some in groupby(rows, lambda row: (row.tenant_id, row.kind)):
            keep(tx, tenant_id, Kind(kind), {row.id: bytes(row.result) for row in some})
    for size in tx.execute(_DIMENSIONS).scalars().all():
        if size <= MAX_INDEXED_DIMENSIONS:
            tx.execute(text(_INDEX.format(size=int(size))))
    return True


def keep(tx: Connection, tenant_id: UUID, kind: Kind, by_passage: Mapping[UUID, bytes]) -> None:
    """Put passages' vectors where pgvector finds them; nothing to do without it."""
    if not by_passage or not has_vectors(tx):
        return
    values = {"tenant_id": tenant_id, "kind": kind.value, "ids": list(by_passage)}
    embeddings = [literal(unpacked(vector)) for vector in by_passage.values()]
    tx.execute(_KEEP, {**values, "embeddings": embeddings})


def literal(vector: list[float]) -> str:
    """As pgvector reads it."""
    return "[" + ",".join(map(repr, vector)) + "]"


def _has_extension(tx: Connection) -> bool:
    if tx.execute(_HAS_TYPE).scalar_one():
        return True
    if not tx.execute(_AVAILABLE).scalar_one():
        log.info("ai.no_pgvector", reason="the server doesn't have it")
        return False
    try:
        with tx.begin_nested():
            tx.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))
    except DBAPIError as refused:
        log.info("ai.no_pgvector", reason=str(refused.orig).strip())
        return False
    return True
