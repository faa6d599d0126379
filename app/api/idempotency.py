"""`Idempotency-Key`: the same key and request get the same answer, the same key and another request 422.

After the IETF draft "The Idempotency-Key HTTP Header Field". The answer is written in the transaction
that creates what the request asked for, so there is never one without the other; requests that were
refused are not remembered.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import Header
from sqlalchemy import Connection, select, text
from sqlalchemy.dialects.postgresql import insert

from app.errors import Unprocessable
from app.models.idempotency import IdempotencyKey

IdempotencyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="Repeat a request safely: the same key and body give the same answer.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request was answered."""

    request_hash: str
    status: int
    location: str
    body: dict[str, Any]


Asked = tuple[UUID, str]
"""A tenant, and a key of its own."""

_TAKE_TURNS = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
_TRY_TURNS = text("""
    SELECT name FROM unnest(CAST(:names AS text[])) AS wanted(name)
    WHERE pg_try_advisory_xact_lock(hashtextextended(name, 0))
""")
_ANSWER = ("request_hash", "status", "location", "body")
_RECALL_ALL = text(f"""
    SELECT tenant_id, key, {", ".join(_ANSWER)}
    FROM unnest(CAST(:tenants AS uuid[]), CAST(:keys AS text[])) AS asked(tenant_id, key)
    JOIN idempotency_keys USING (tenant_id, key)
    WHERE operation = :operation
""")  # noqa: S608 - constants


def request_hash(*parts: object) -> str:
    """A SHA-256, in hex, over the JSON of all that makes the request what it is."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def recall(tx: Connection, tenant_id: UUID, operation: str, key: str) -> Answer | None:
    """The answer that the key got before, if any."""
    row = tx.execute(
        select(
            IdempotencyKey.request_hash,
            IdempotencyKey.status,
            IdempotencyKey.location,
            IdempotencyKey.body,
        ).where(
            IdempotencyKey.tenant_id == tenant_id,
            IdempotencyKey.operation == operation,
            IdempotencyKey.key == key,
        )
    ).one_or_none()
    return None if row is None else Answer(**row._mapping)  # noqa: SLF001


def remember(tx: Connection, tenant_id: UUID, operation: str, key: str, answer: Answer) -> bool:
    """Keep the answer; False when a request with the same key was first (this waits for it to commit)."""
    kept = tx.execute(
        insert(IdempotencyKey)
        .values(
            tenant_id=tenant_id,
            operation=operation,
            key=key,
            request_hash=answer.request_hash,
            status=answer.status,
            location=answer.location,
            body=answer.body,
        )
        .on_conflict_do_nothing()
        .returning(IdempotencyKey.key)
    )
    return kept.one_or_none() is not None


def take_turns(tx: Connection, asked: Collection[Asked], operation: str) -> set[Asked]:
    """Those of the keys that nobody has the turn for; who else has one isn't waited for. They are this
    transaction's from now on.
    """
    names = {_turn(tenant_id, operation, key): (tenant_id, key) for tenant_id, key in asked}
    rows = tx.execute(_TRY_TURNS, {"names": list(names)})
    return {names[row.name] for row in rows}


def recall_all(tx: Connection, asked: Collection[Asked], operation: str) -> dict[Asked, Answer]:
    """As `recall`, of one operation; what isn't there has no answer yet."""
    given = {
        "operation": operation,
        "tenants": [tenant_id for tenant_id, _ in asked],
        "keys": [key for _, key in asked],
    }
    return {
        (tenant_id, key): Answer(**dict(zip(_ANSWER, answer, strict=True)))
        for tenant_id, key, *answer in tx.execute(_RECALL_ALL, given)
    }


def remember_all(tx: Connection, operation: str, answers: Mapping[Asked, Answer]) -> None:
    """As `remember`, where this transaction has the turns."""
    rows = [
        {"tenant_id": tenant_id, "operation": operation, "key": key}
        | {name: getattr(answer, name) for name in _ANSWER}
        for (tenant_id, key), answer in answers.items()
    ]
    tx.execute(insert(IdempotencyKey).on_conflict_do_nothing(), rows)


def _turn(tenant_id: UUID, operation: str, key: str) -> str:
    return f"{tenant_id} {operation} {key}"


def check_same(answer: Answer, request: str) -> Answer:
    """The answer, if it was given to the same request. Raises Unprocessable."""
    if answer.request_hash != request:
        raise Unprocessable(
            "This Idempotency-Key was used for another request. Use a new key for a new request.",
            code="idempotency_key_reused",
        )
    return answer


def answer_once(
    tx: Connection,
    tenant_id: UUID,
    operation: str,
    key: str | None,
    request: str,
    make: Callable[[], Answer],
) -> Answer:
    """The answer that the key got before, or else `make()`'s, which is remembered in its own transaction.

    Requests with the same key take turns. Raises Unprocessable for another request's key.
    """
    if key is None:
        return make()
    tx.execute(_TAKE_TURNS, {"name": _turn(tenant_id, operation, key)})
    known = recall(tx, tenant_id, operation, key)
    if known is not None:
        return check_same(known, request)
    answer = make()
    remember(tx, tenant_id, operation, key, answer)
    return answer
