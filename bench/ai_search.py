"""Search by meaning at size: pgvector's index against reading every vector, and against pgvector without it.

PASSAGES passages of one tenant, five to a document, of DIMENSIONS numbers each: clusters with noise around
them, as texts have them, and a second tenant of a hundredth of that. The questions are near texts that are there.
What is timed is the database's part of a search, as the API runs it: the nearest ten documents.
"""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

import psycopg
from rich.console import Console
from sqlalchemy import Connection, Engine, text

from app.ai import nearest, vectors
from app.ai.nearest import Hit, nearest_by_pgvector, nearest_by_reading
from app.ai.results import keep as keep_results
from app.ai.subjects import Kind
from app.db import make_engine
from app.ids import new_id
from app.settings import Settings
from bench.report import Result
from infra.local.system import LocalSystem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

PASSAGES = int(os.environ.get("BENCH_PASSAGES", "100000"))
DIMENSIONS = 384
"""As the local model's."""
PER_DOCUMENT = 5
SMALL = 100
"""The second tenant has the hundredth part."""
CLUSTERS = 1000
LIMIT = 10
QUERIES = 40
EXACT_QUERIES = 8
READ_QUERIES = 3
ROUNDS = 3
BLOCK = 2000
SPACE = "bench"
HOME = Path(".local/bench-ai-search")

_TENANT = text("INSERT INTO tenants (id, name, email) VALUES (:id, :name, 'a@example.com')")
_DOCUMENTS = text("""
    INSERT INTO documents (id, tenant_id, title, text)
    SELECT id, :tenant_id, 'a document', 'its text' FROM unnest(CAST(:ids AS uuid[])) AS d(id)
""")
_SUBJECTS = text("""
    INSERT INTO ai_subjects (tenant_id, kind, id, space, seen_at)
    SELECT :tenant_id, 'documents', id, :space, now() FROM unnest(CAST(:ids AS uuid[])) AS d(id)
""")
_PASSAGES = text("""
    INSERT INTO ai_passages (id, tenant_id, kind, subject_id, space, begin_at, end_at, hash)
    SELECT uuidv7(), :tenant_id, 'documents', subject_id, :space, 0, 1, hash
    FROM unnest(CAST(:subjects AS uuid[]), CAST(:hashes AS bytea[])) AS p(subject_id, hash)
""")


class Search(Protocol):
    """One of the ways to find the nearest."""

    def __call__(
        self,
        tx: Connection,
        tenant_id: UUID,
        kind: str,
        space: str,
        query: Sequence[float],
        limit: int,
    ) -> list[Hit]: ...


class Texts:
    """Vectors in clusters, always the same."""

    def __init__(self) -> None:
        import numpy as np

        self._dice = np.random.default_rng(7)
        self._centres = self._dice.standard_normal((CLUSTERS, DIMENSIONS), dtype=np.float32)

    def some(self, number: int) -> "Vectors":
        """Of length 1."""
        import numpy as np

        near = self._centres[self._dice.integers(0, CLUSTERS, number)]
        noise = self._dice.standard_normal((number, DIMENSIONS), dtype=np.float32)
        found: Vectors = near + 0.7 * noise
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        return found


def run() -> Result:
    with LocalSystem(HOME, programs=("postgres",), say=print) as system:
        system.run_command("migrate")
        with psycopg.connect(system.postgres.url(user="postgres"), autocommit=True) as admin:
            admin.execute("CREATE EXTENSION IF NOT EXISTS vector")
        engine = make_engine(Settings.of(system.settings), pool_size=2, application_name="bench")
        try:
            return _measured(engine)
        finally:
            engine.dispose()


def _measured(engine: Engine) -> Result:
    texts = Texts()
    large, small = new_id(), new_id()
    with engine.begin() as tx:
        tx.execute(text("TRUNCATE documents, ai_subjects, ai_passages, ai_results CASCADE"))
        tx.execute(
            text("DROP TABLE IF EXISTS ai_vectors")
        )  # with its index, which is built at the end
    _fill(engine, large, texts, PASSAGES)
    _fill(engine, small, texts, PASSAGES // SMALL)
    began = time.perf_counter()
    with engine.begin() as tx:
        tx.execute(text("SET LOCAL maintenance_work_mem = '512MB'"))
        assert vectors.prepare(tx), "no pgvector"
    prepared = time.perf_counter() - began
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as tx:
        tx.execute(text("VACUUM ANALYZE documents, ai_passages, ai_results, ai_vectors"))
    questions = [row.tolist() for row in texts.some(QUERIES)]
    runs, notes = _rounds(engine, large, questions)
    alone, _ = _timed(engine, small, questions, nearest_by_pgvector)
    return Result(
        name="ai_search",
        unit="searches/s",
        goal=10.0,
        baseline_is="every vector read and compared, in SQL by pgvector",
        runs=runs,
        notes={
            "passages": PASSAGES,
            "dimensions": DIMENSIONS,
            **notes,
            f"ms of a tenant of {PASSAGES // SMALL} beside it (p50, p95)": _shown(alone),
            "s to fill and index, by `millrace migrate`": round(prepared, 1),
        },
    )


def _fill(engine: Engine, tenant_id: UUID, texts: Texts, passages: int) -> None:
    with engine.begin() as tx:
        tx.execute(_TENANT, {"id": tenant_id, "name": f"bench {tenant_id}"})
    for begin in range(0, passages, BLOCK):
        number = min(BLOCK, passages - begin)
        hashes = [new_id().bytes for _ in range(number)]
        rows = texts.some(number).astype("<f4")
        ids = [new_id() for _ in range(-(-number // PER_DOCUMENT))]
        values = {"tenant_id": tenant_id, "space": SPACE, "ids": ids}
        with engine.begin() as tx:
            keep_results(
                tx, tenant_id, {h: row.tobytes() for h, row in zip(hashes, rows, strict=True)}
            )
            tx.execute(_DOCUMENTS, values)
            tx.execute(_SUBJECTS, values)
            subjects = [ids[at // PER_DOCUMENT] for at in range(number)]
            tx.execute(_PASSAGES, {**values, "subjects": subjects, "hashes": hashes})


def _rounds(
    engine: Engine, tenant_id: UUID, questions: list[list[float]]
) -> tuple[list[tuple[float, float]], dict[str, Any]]:
    """Searches a second by the index and without it, round by round; and what belongs beside them."""
    few = questions[:EXACT_QUERIES]
    runs: list[tuple[float, float]] = []
    by_index: list[float] = []
    by_sql: list[float] = []
    found: list[list[Hit]] = []
    right: list[list[Hit]] = []
    for number in range(ROUNDS):
        times, found = _timed(engine, tenant_id, questions, nearest_by_pgvector)
        slow, right = _timed(engine, tenant_id, few, _exactly)
        runs.append((1 / median(times), 1 / median(slow)))
        by_index += times
        by_sql += slow
        Console().print(
            f"round {number + 1}: {1e3 * median(times):.1f} against {1e3 * median(slow):.0f} ms"
        )
    by_reading, same = _timed(engine, tenant_id, few[:READ_QUERIES], _reading)
    assert list(map(_ids, same)) == list(map(_ids, right[:READ_QUERIES])), "they differ"
    hits = [len(set(_ids(a)) & set(_ids(b))) for a, b in zip(found, right, strict=False)]
    return runs, {
        "ms by the index (p50, p95)": _shown(by_index),
        "ms exactly, in SQL": _shown(by_sql),
        "ms exactly, read into the web process (numpy)": _shown(by_reading),
        f"found by the index of the {LIMIT} nearest documents": round(
            sum(hits) / (LIMIT * len(hits)), 3
        ),
    }


def _exactly(
    tx: Connection, tenant_id: UUID, kind: str, space: str, query: Sequence[float], limit: int
) -> list[Hit]:
    """By pgvector, as a smaller tenant is searched."""
    usual, nearest.EXACT_ROWS = nearest.EXACT_ROWS, 10**9
    try:
        return nearest_by_pgvector(tx, tenant_id, kind, space, query, limit)
    finally:
        nearest.EXACT_ROWS = usual


def _reading(
    tx: Connection, tenant_id: UUID, kind: str, space: str, query: Sequence[float], limit: int
) -> list[Hit]:
    """Without pgvector, beyond what is allowed there."""
    usual, nearest.READABLE_ROWS = nearest.READABLE_ROWS, 10**9
    try:
        return nearest_by_reading(tx, tenant_id, kind, space, query, limit)
    finally:
        nearest.READABLE_ROWS = usual


def _timed(
    engine: Engine, tenant_id: UUID, questions: list[list[float]], search: Search
) -> tuple[list[float], list[list[Hit]]]:
    """Seconds of each, after one that warms up; and what was found."""
    times: list[float] = []
    found: list[list[Hit]] = []
    for at, question in enumerate(_warmed(questions)):
        began = time.perf_counter()
        with engine.begin() as tx:
            hits = search(tx, tenant_id, Kind.DOCUMENTS, SPACE, question, LIMIT)
        if at:
            times.append(time.perf_counter() - began)
            found.append(hits)
    return times, found


def _warmed(questions: list[list[float]]) -> Iterator[list[float]]:
    yield questions[-1]
    yield from questions


def _ids(hits: list[Hit]) -> list[UUID]:
    return [hit.subject_id for hit in hits]


def _shown(seconds: list[float]) -> tuple[float, float]:
    """p50 and p95 in milliseconds."""
    ordered = sorted(seconds)
    at = min(len(ordered) - 1, int(len(ordered) * 0.95))
    return round(1e3 * median(ordered), 1), round(1e3 * ordered[at], 1)
