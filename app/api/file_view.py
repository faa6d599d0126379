"""A file as the API shows it."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field
from sqlalchemy import Connection

from app.api.idempotency import Answer
from app.api.session import Place
from app.errors import NotFound
from app.files import store
from app.files.options import VariantSpec
from app.files.store import StoredFile, Variant

LINK_SECONDS = 300


class FileProblem(BaseModel):
    """Why it failed, or what was found in it."""

    code: str
    message: str


class VariantView(BaseModel):
    """A variant. `width`, `height` and `bytes` are what came out; null until it is done."""

    name: str
    state: Literal["waiting", "done", "failed"]
    format: str
    width: int | None
    height: int | None
    bytes: int | None
    url: str | None = Field(description="Good for five minutes; only where one file is asked for.")


class TextView(BaseModel):
    """A document's text: `no_text` is a document without any, such as scanned pages."""

    state: Literal["waiting", "done", "no_text", "failed"]
    chars: int | None
    truncated: bool | None
    excerpt: str | None = Field(description="The first 500 characters, on one line.")


class FileView(BaseModel):
    """A file. `state`: `uploaded` where no virus scanner is used, else `scanning`, then `clean` or `infected`;
    `failed` says in `error` why. `type`, `width` and `height` are the content's own. `text` is null where none
    was asked for. `url` is the file as it was sent, and null where it may not be fetched.
    """

    id: UUID
    state: Literal["uploaded", "scanning", "clean", "infected", "failed"]
    filename: str
    type: str
    size: int
    sha256: str
    width: int | None
    height: int | None
    variants: list[VariantView]
    text: TextView | None
    searchable: bool = Field(
        description="Whether its text becomes documents that are found by meaning."
    )
    error: FileProblem | None
    url: str | None
    created_at: datetime


def load_file(tx: Connection, tenant_id: UUID, file_id: UUID) -> StoredFile:
    """Raises NotFound."""
    found = store.find(tx, tenant_id, file_id)
    if found is None:
        raise NotFound(f"There is no file {file_id}.")
    return found


def view_of(file: StoredFile, place: Place | None = None) -> FileView:
    """With links if there is a place to link to."""
    linked = place if file.readable else None
    return FileView(
        id=file.id,
        state=file.state,
        filename=file.filename,
        type=file.type,
        size=file.size,
        sha256=file.sha256,
        width=file.width,
        height=file.height,
        variants=[_variant(each, linked) for each in file.variants],
        text=_text(file),
        searchable=file.searchable,
        error=file.error and FileProblem.model_validate(file.error),
        url=linked and linked.storage.presign(file.object_key, seconds=LINK_SECONDS),
        created_at=file.created_at,
    )


def accepted_file(tx: Connection, tenant_id: UUID, file_id: UUID, request: str) -> Answer:
    """What a POST is answered."""
    shown = view_of(load_file(tx, tenant_id, file_id))
    return Answer(
        request_hash=request,
        status=202,
        location=f"/v1/files/{file_id}",
        body=shown.model_dump(mode="json"),
    )


def _variant(variant: Variant, place: Place | None) -> VariantView:
    spec: VariantSpec = variant.spec
    key = variant.object_key
    return VariantView(
        name=variant.name,
        state=variant.state,
        format=spec.format,
        width=variant.width,
        height=variant.height,
        bytes=variant.bytes,
        url=place.storage.presign(key, seconds=LINK_SECONDS) if place and key else None,
    )


def _text(file: StoredFile) -> TextView | None:
    if file.text_state is None:
        return None
    facts: dict[str, Any] = {
        "state": file.text_state,
        "chars": file.text_chars,
        "truncated": file.text_truncated,
        "excerpt": file.text_excerpt,
    }
    return TextView.model_validate(facts)
