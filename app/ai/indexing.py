"""Making subjects findable: their text in passages, each passage's vector, and what ties them together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from app.ai import results, vectors
from app.ai.buying import Buyer, embed
from app.ai.passages import Passage, cut
from app.ai.results import content_hash, normalised
from app.ai.subjects import Kind, Subject
from app.ai.tokens import clip, estimate_tokens
from app.ids import new_id

LEAST_TOKENS = 16
"""Of a passage, however long the title is."""

_SUBJECTS = """
    INSERT INTO ai_subjects (tenant_id, kind, id, space, seen_at)
    SELECT :tenant_id, :kind, c.id, :space, s.seen_at
    FROM unnest(CAST(:ids AS uuid[]), CAST(:seen AS timestamptz[])) AS s(id, seen_at)
    JOIN {table} c ON c.id = s.id AND c.tenant_id = :tenant_id
    ORDER BY c.id
    ON CONFLICT (tenant_id, kind, id) DO UPDATE
    SET space = excluded.space, seen_at = excluded.seen_at
    WHERE ai_subjects.seen_at <= excluded.seen_at
    RETURNING id
"""
_KEEP_SUBJECTS = {kind: text(_SUBJECTS.format(table=kind.value)) for kind in Kind}
_FORGET = text("""
    DELETE FROM ai_passages
    WHERE tenant_id = :tenant_id AND kind = :kind AND subject_id = ANY(:ids)
""")
_PASSAGES = text("""
    INSERT INTO ai_passages (id, tenant_id, kind, subject_id, space, begin_at, end_at, hash)
    SELECT id, :tenant_id, :kind, subject_id, :space, begin_at, end_at, hash
    FROM unnest(CAST(:ids AS uuid[]), CAST(:subjects AS uuid[]), CAST(:begins AS int[]),
                CAST(:ends AS int[]), CAST(:hashes AS bytea[]))
         AS p(id, subject_id, begin_at, end_at, hash)
""")


@dataclass(frozen=True, slots=True)
class Piece:
    """A passage of a subject, and the hash of what the model gets of it."""

    subject: Subject
    passage: Passage
    hash: bytes


@dataclass(frozen=True, slots=True)
class Prepared:
    """Subjects whose vectors are known, ready to be tied to them; `failed` are too long for the model."""

    kind: Kind
    space: str
    subjects: list[Subject]
    pieces: list[Piece]
    vectors: Mapping[bytes, bytes]
    failed: list[UUID]


def prepare(buyer: Buyer, kind: Kind, subjects: Sequence[Subject]) -> Prepared:
    """Get the vectors of all passages; see buying.embed for what it raises."""
    pieces: list[Piece] = []
    texts: dict[bytes, str] = {}
    for subject in subjects:
        for passage in _passages(buyer, kind, subject):
            words = normalised(f"{subject.title} {subject.text[passage.begin : passage.end]}")
            key = content_hash("embedding", buyer.provider.space, words)
            texts[key] = words
            pieces.append(Piece(subject, passage, key))
    found = embed(buyer, texts)
    failed = {piece.subject.id for piece in pieces if piece.hash in found.too_long}
    return Prepared(
        kind=kind,
        space=buyer.provider.space,
        subjects=[each for each in subjects if each.id not in failed],
        pieces=[each for each in pieces if each.subject.id not in failed],
        vectors=found.vectors,
        failed=sorted(failed),
    )


def keep(tx: Connection, tenant_id: UUID, ready: Prepared) -> None:
    """Replace what was known about the subjects. One that is gone by now, or that somebody else has seen
    in a later state, is left alone.
    """
    common: dict[str, Any] = {
        "tenant_id": tenant_id,
        "kind": ready.kind.value,
        "space": ready.space,
    }
    seen = {"ids": [s.id for s in ready.subjects], "seen": [s.seen_at for s in ready.subjects]}
    ids = set(tx.execute(_KEEP_SUBJECTS[ready.kind], {**common, **seen}).scalars())
    tx.execute(_FORGET, {**common, "ids": list(ids)})
    pieces = [(new_id(), piece) for piece in ready.pieces if piece.subject.id in ids]
    tx.execute(
        _PASSAGES,
        {
            **common,
            "ids": [passage_id for passage_id, _ in pieces],
            "subjects": [piece.subject.id for _, piece in pieces],
            "begins": [piece.passage.begin for _, piece in pieces],
            "ends": [piece.passage.end for _, piece in pieces],
            "hashes": [piece.hash for _, piece in pieces],
        },
    )
    results.keep(tx, tenant_id, ready.vectors)  # unless the clean-up was quicker, they are there
    by_passage = {passage_id: ready.vectors[piece.hash] for passage_id, piece in pieces}
    vectors.keep(tx, tenant_id, ready.kind, by_passage)


def _passages(buyer: Buyer, kind: Kind, subject: Subject) -> list[Passage]:
    """A contact is one passage, a document as many as it takes; each travels with the title."""
    most, words = buyer.provider.input_max_tokens, subject.text
    if kind is Kind.DOCUMENTS:
        room = min(buyer.settings.ai_passage_tokens, most) - estimate_tokens(subject.title)
        return cut(words, tokens=max(room, LEAST_TOKENS)) or [Passage(0, 0)]
    end = len(clip(words, most))
    return [Passage(0, end)] if words[:end].strip() else []
