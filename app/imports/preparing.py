"""Before a file is planned: is it the file that was announced, and is it all there?"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from uuid import UUID

from sqlalchemy import Connection, text

from app.errors import Unprocessable
from app.imports.lifecycle import OpenImport
from app.imports.rejected import header_line
from app.storage import Part, Storage
from app.tabular.detect import Table, open_table, reopen
from app.tabular.layout import Layout

PART_BYTES = 8 * 1024 * 1024
_CSV = "text/csv"

_REJECTED_KEYS = text("""
    SELECT rejected_key FROM import_chunks
    WHERE import_id = :id AND rejected_key IS NOT NULL ORDER BY index
""")
_SIZE = text("UPDATE imports SET bytes_total = :size WHERE id = :id")
_LAYOUT = text(
    "UPDATE imports SET layout = CAST(:layout AS jsonb) WHERE id = :id AND layout IS NULL"
)

Between = Callable[[Iterable[bytes]], Iterable[bytes]]
"""Wraps what takes long, to look now and then whether it is still wanted."""


def check_sum(storage: Storage, source: OpenImport, between: Between) -> None:
    """Raise Unprocessable (`checksum_mismatch`) when the file isn't the one that was announced."""
    digest = hashlib.sha256()
    for block in between(storage.stream(source.object_key)):
        digest.update(block)
    if digest.hexdigest() != (source.checksum_wanted or "").lower():
        raise Unprocessable(
            f"The file's SHA-256 is {digest.hexdigest()}, and {source.checksum_wanted} was announced. "
            "Send the file again.",
            code="checksum_mismatch",
        )


def rejected_keys(tx: Connection, import_id: UUID) -> list[str]:
    """Where the rejected rows of an import are, in the order of its file."""
    return list(tx.execute(_REJECTED_KEYS, {"id": import_id}).scalars())


def gather(storage: Storage, source: OpenImport, keys: Iterable[str], between: Between) -> int:
    """Put the rejected rows at `keys` together as the file of this import; returns its size. Does
    nothing where that has been done.
    """
    there = storage.head(source.object_key)
    if there is not None:
        return there.size
    blocks = between(_blocks(storage, source.columns, keys))
    return _store(storage, source.object_key, blocks)


def record_size(tx: Connection, import_id: UUID, size: int) -> None:
    """The file is there now."""
    tx.execute(_SIZE, {"id": import_id, "size": size})


def record_layout(tx: Connection, import_id: UUID, layout: Layout) -> None:
    """An older release accepted the file without looking for one."""
    tx.execute(_LAYOUT, {"id": import_id, "layout": layout.model_dump_json()})


def table_of(storage: Storage, source: OpenImport) -> Table:
    """The file, opened as it was when it was accepted. Raises what `open_table` raises."""
    file = storage.open(source.object_key)
    if source.layout is not None:
        return reopen(file, source.layout)
    table = open_table(file)
    if source.source != "retry":
        return table
    return reopen(file, table.layout.model_copy(update={"exact": True}))


def _blocks(storage: Storage, columns: list[str], keys: Iterable[str]) -> Iterator[bytes]:
    yield header_line(columns)
    for key in keys:
        yield from storage.stream(key)


def _store(storage: Storage, key: str, blocks: Iterable[bytes]) -> int:
    """In parts; the object is there when all of it is."""
    size, buffer = 0, bytearray()
    upload_id: str | None = None
    parts: list[Part] = []
    for block in blocks:
        size += len(block)
        buffer += block
        if len(buffer) >= PART_BYTES:
            upload_id = upload_id or storage.begin_multipart(key, content_type=_CSV)
            parts.append(storage.put_part(key, upload_id, len(parts) + 1, bytes(buffer)))
            buffer.clear()
    if upload_id is None:
        storage.put(key, bytes(buffer), content_type=_CSV)
        return size
    if buffer:
        parts.append(storage.put_part(key, upload_id, len(parts) + 1, bytes(buffer)))
    storage.complete_multipart(key, upload_id, parts)
    return size
