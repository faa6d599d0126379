"""Lists: a page at a time, by an opaque cursor."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel
from sqlalchemy import Connection, Row, Select
from sqlalchemy.orm import InstrumentedAttribute

from app.errors import InvalidRequest

Item = TypeVar("Item")

Limit = Annotated[int, Query(ge=1, le=200, description="How many items a page holds.")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.")]


class Page(BaseModel, Generic[Item]):
    """`next_cursor` is null on the last page."""

    items: list[Item]
    next_cursor: str | None = None


def encode_cursor(last: str) -> str:
    """The cursor that continues after the item whose sort key is `last`."""
    return base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> str | None:
    """The opposite; raises InvalidRequest for what is no cursor of ours."""
    if cursor is None:
        return None
    try:
        return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (ValueError, binascii.Error):
        raise _invalid() from None


def decode_id_cursor(cursor: str | None) -> UUID | None:
    """As `decode_cursor`, for lists that are sorted by id."""
    last = decode_cursor(cursor)
    try:
        return None if last is None else UUID(last)
    except ValueError:
        raise _invalid() from None


def newest(
    tx: Connection,
    query: Select[Any],
    ids: InstrumentedAttribute[UUID],
    cursor: str | None,
    limit: int,
) -> Sequence[Row[Any]]:
    """The rows of `query` behind the cursor, newest first, and one more than the page holds: for `page_of`."""
    before = decode_id_cursor(cursor)
    if before is not None:
        query = query.where(ids < before)
    return tx.execute(query.order_by(ids.desc()).limit(limit + 1)).all()


def page_of(items: Sequence[Item], key: Callable[[Item], object], limit: int) -> Page[Item]:
    """A page out of `limit + 1` fetched items, sorted by `key`."""
    more = len(items) > limit
    shown = list(items[:limit])
    return Page(items=shown, next_cursor=encode_cursor(str(key(shown[-1]))) if more else None)


def _invalid() -> InvalidRequest:
    return InvalidRequest(
        "The cursor is not one of ours. Use 'next_cursor' as it came, or leave it out.",
        code="invalid_cursor",
    )
