"""The rows of files and their variants. Every step joins the caller's transaction."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from app.files.options import VariantSpec
from app.files.protocol import Made

_INSERT = text("""
    INSERT INTO files (id, tenant_id, job_id, state, filename, object_key, size, sha256, type, text_state,
                       searchable)
    VALUES (:id, :tenant_id, :job_id, :state, :filename, :object_key, :size, :sha256, :type, :text_state,
            :searchable)
""")
_INSERT_VARIANT = text("""
    INSERT INTO file_variants (file_id, name, tenant_id, position, spec, state)
    VALUES (:file_id, :name, :tenant_id, :position, CAST(:spec AS jsonb), 'waiting')
""")
_COLUMNS = """
    SELECT id, tenant_id, state, filename, object_key, size, sha256, type, width, height, text_state,
           text_key, text_chars, text_truncated, text_excerpt, searchable, error, created_at
    FROM files
"""
_FIND = text(f"{_COLUMNS} WHERE id = :id AND tenant_id = :tenant_id")
_PAGE = text(f"""
    {_COLUMNS} WHERE tenant_id = :tenant_id
      AND (CAST(:before AS uuid) IS NULL OR id < CAST(:before AS uuid))
    ORDER BY id DESC LIMIT :limit
""")
_VARIANTS = text("""
    SELECT file_id, name, spec, state, width, height, bytes, object_key
    FROM file_variants WHERE file_id = ANY(:ids) ORDER BY file_id, position
""")
_CLEAN = text("""
    UPDATE files SET state = 'clean', scanned_at = clock_timestamp()
    WHERE id = :id AND state = 'scanning'
""")
_INFECTED = text("""
    UPDATE files SET state = 'infected', scanned_at = clock_timestamp(), error = CAST(:error AS jsonb),
                     text_state = CASE WHEN text_state = 'waiting' THEN 'failed' ELSE text_state END
    WHERE id = :id AND state = 'scanning'
""")
_SCAN_FIRST = text("UPDATE files SET state = 'scanning' WHERE id = :id AND state = 'uploaded'")
_SIZED = text("UPDATE files SET width = :width, height = :height WHERE id = :id")
_VARIANT_DONE = text("""
    UPDATE file_variants
    SET state = 'done', width = :width, height = :height, bytes = :bytes, object_key = :key
    WHERE file_id = :id AND name = :name AND state <> 'done'
""")
_TEXT_DONE = text("""
    UPDATE files SET text_state = :state, text_key = :key, text_chars = :chars,
                     text_truncated = :truncated, text_excerpt = :excerpt
    WHERE id = :id AND text_state = 'waiting'
""")
_FAIL = text("""
    UPDATE files SET state = 'failed', error = CAST(:error AS jsonb),
                     text_state = CASE WHEN text_state = 'waiting' THEN 'failed' ELSE text_state END
    WHERE id = :id AND state NOT IN ('infected', 'failed')
""")
_FAIL_VARIANTS = text("""
    UPDATE file_variants SET state = 'failed' WHERE file_id = :id AND state = 'waiting'
""")
_REOPEN = text("""
    UPDATE files SET state = CASE WHEN scanned_at IS NOT NULL THEN 'clean'
                                  WHEN :scanning THEN 'scanning' ELSE 'uploaded' END,
                     error = NULL,
                     text_state = CASE WHEN text_state = 'failed' THEN 'waiting' ELSE text_state END
    WHERE id = :id AND state = 'failed'
""")
_REOPEN_VARIANTS = text("""
    UPDATE file_variants SET state = 'waiting' WHERE file_id = :id AND state = 'failed'
""")
_DELETE = text("DELETE FROM files WHERE id = :id AND tenant_id = :tenant_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """A file that is stored, and what is to come of it."""

    id: UUID
    tenant_id: UUID
    job_id: UUID | None
    state: str
    filename: str
    object_key: str
    size: int
    sha256: str
    type: str
    text_state: str | None
    searchable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A row of file_variants."""

    name: str
    spec: VariantSpec
    state: str
    width: int | None
    height: int | None
    bytes: int | None
    object_key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A row of files, with its variants in their order."""

    id: UUID
    tenant_id: UUID
    state: str
    filename: str
    object_key: str
    size: int
    sha256: str
    type: str
    width: int | None
    height: int | None
    text_state: str | None
    text_key: str | None
    text_chars: int | None
    text_truncated: bool | None
    text_excerpt: str | None
    searchable: bool
    error: dict[str, Any] | None
    created_at: datetime
    variants: tuple[Variant, ...]

    @property
    def readable(self) -> bool:
        """Whether it may be fetched: it is not infected, and not still to be scanned."""
        return self.state in {"uploaded", "clean"}

    @property
    def waiting(self) -> tuple[Variant, ...]:
        """The variants that are still to be made."""
        return tuple(each for each in self.variants if each.state == "waiting")


def add(tx: Connection, file: NewFile, variants: Sequence[VariantSpec]) -> None:
    """Record the file and its variants to be."""
    tx.execute(_INSERT, {name: getattr(file, name) for name in file.__slots__})
    for position, spec in enumerate(variants):
        values = {
            "file_id": file.id,
            "name": spec.name,
            "tenant_id": file.tenant_id,
            "position": position,
            "spec": spec.model_dump_json(),
        }
        tx.execute(_INSERT_VARIANT, values)


def find(tx: Connection, tenant_id: UUID, file_id: UUID) -> StoredFile | None:
    """The tenant's file."""
    rows = tx.execute(_FIND, {"id": file_id, "tenant_id": tenant_id}).all()
    return next(iter(_with_variants(tx, [row._mapping for row in rows])), None)  # noqa: SLF001


def page(tx: Connection, tenant_id: UUID, *, before: UUID | None, limit: int) -> list[StoredFile]:
    """The tenant's files, newest first."""
    rows = tx.execute(_PAGE, {"tenant_id": tenant_id, "before": before, "limit": limit}).all()
    return _with_variants(tx, [row._mapping for row in rows])  # noqa: SLF001


def clean(tx: Connection, file_id: UUID) -> bool:
    """The scan found nothing; False when there is no such file, or it has its verdict."""
    return tx.execute(_CLEAN, {"id": file_id}).rowcount == 1


def infected(tx: Connection, file_id: UUID, error: Mapping[str, str]) -> None:
    """The scan found something: nothing will be made of it."""
    tx.execute(_INFECTED, {"id": file_id, "error": json.dumps(dict(error))})
    tx.execute(_FAIL_VARIANTS, {"id": file_id})


def scan_first(tx: Connection, file_id: UUID) -> bool:
    """It was taken while there was no scanner; now there is one."""
    return tx.execute(_SCAN_FIRST, {"id": file_id}).rowcount == 1


def sized(tx: Connection, file_id: UUID, width: int, height: int) -> None:
    """The picture's own size is known."""
    tx.execute(_SIZED, {"id": file_id, "width": width, "height": height})


def variant_done(tx: Connection, file_id: UUID, made: Made, key: str) -> None:
    """A variant is in the store."""
    tx.execute(_VARIANT_DONE, {"id": file_id, "key": key, **asdict(made)})


def text_done(
    tx: Connection, file_id: UUID, *, key: str | None, text_: str, truncated: bool, excerpt: str
) -> bool:
    """The text is in the store, or there is none; False when the file is deleted, or has its text."""
    values = {
        "id": file_id,
        "state": "no_text" if key is None else "done",
        "key": key,
        "chars": len(text_),
        "truncated": truncated,
        "excerpt": excerpt,
    }
    return tx.execute(_TEXT_DONE, values).rowcount == 1


def fail(tx: Connection, file_id: UUID, error: Mapping[str, str]) -> None:
    """What isn't done yet never will be."""
    tx.execute(_FAIL, {"id": file_id, "error": json.dumps(dict(error))})
    tx.execute(_FAIL_VARIANTS, {"id": file_id})


def reopen(tx: Connection, file_id: UUID, *, scanning: bool) -> None:
    """A failed one is tried again."""
    tx.execute(_REOPEN, {"id": file_id, "scanning": scanning})
    tx.execute(_REOPEN_VARIANTS, {"id": file_id})


def delete(tx: Connection, tenant_id: UUID, file_id: UUID) -> bool:
    """Forget it; False when there is no such file."""
    return tx.execute(_DELETE, {"id": file_id, "tenant_id": tenant_id}).rowcount == 1


def _with_variants(tx: Connection, rows: Sequence[Mapping[Any, Any]]) -> list[StoredFile]:
    if not rows:
        return []
    found: dict[UUID, list[Variant]] = {row["id"]: [] for row in rows}
    for row in tx.execute(_VARIANTS, {"ids": list(found)}):
        facts = dict(row._mapping)  # noqa: SLF001
        spec = VariantSpec.model_validate(facts.pop("spec"))
        found[facts.pop("file_id")].append(Variant(spec=spec, **facts))
    return [StoredFile(**row, variants=tuple(found[row["id"]])) for row in rows]
