"""Documents: texts to be searched by meaning and classified."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import AfterValidator, BaseModel, Field

from app.ai import documents
from app.ai.provider import is_configured
from app.api.bodies import Body, BoundedRoute, Name, storable
from app.api.idempotency import Answer, IdempotencyHeader, answer_once, request_hash
from app.api.jobs import respond
from app.api.pages import Cursor, Limit, Page, decode_id_cursor, page_of
from app.api.problems import describe
from app.api.session import CurrentTenant, SettingsDep, Tx
from app.jobs import AiEmbedDocuments
from app.ledger.enqueue import enqueue

router = APIRouter(prefix="/v1", tags=["documents"], route_class=BoundedRoute)

_CREATED: dict[int | str, dict[str, Any]] = {
    201: {
        "description": "Created.",
        "headers": {
            "Location": {"schema": {"type": "string"}, "description": "Where the document is."}
        },
    }
}


class DocumentRequest(Body):
    """A document to be."""

    title: Name
    text: Annotated[
        str, Field(min_length=1, max_length=documents.MAX_CHARS), AfterValidator(storable)
    ]
    source: Annotated[Name | None, Field(description="Where it is from, such as an address.")] = (
        None
    )
    source_file_id: Annotated[
        UUID | None, Field(description="The uploaded file that the text was taken from.")
    ] = None


class DocumentLine(BaseModel):
    """A document in a list."""

    id: UUID
    title: str
    source: str | None
    source_file_id: UUID | None
    characters: int
    created_at: datetime
    updated_at: datetime


class DocumentView(DocumentLine):
    """A document."""

    text: str


class DocumentCreated(DocumentView):
    """A new document. `job_id` is the job that makes it findable; null where no AI provider is set up."""

    job_id: UUID | None


@router.post(
    "/documents",
    status_code=201,
    response_model=DocumentCreated,
    responses={**_CREATED, **describe(400, 413, 422)},
)
def create_document(
    request: DocumentRequest,
    tenant_id: CurrentTenant,
    tx: Tx,
    settings: SettingsDep,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Keep a text, and have it made findable by meaning."""
    hashed = request_hash(request.model_dump(mode="json"))

    def make() -> Answer:
        made = documents.add(
            tx,
            tenant_id,
            title=request.title,
            words=request.text,
            source=request.source,
            source_file_id=request.source_file_id,
        )
        job_id = None
        if is_configured(settings):
            job_id = enqueue(tx, tenant_id, AiEmbedDocuments(ids=[made])).id
        body = {**_view(tx, tenant_id, made).model_dump(), "job_id": job_id}
        return Answer(
            request_hash=hashed,
            status=201,
            location=f"/v1/documents/{made}",
            body=DocumentCreated.model_validate(body).model_dump(mode="json"),
        )

    return respond(answer_once(tx, tenant_id, "POST /v1/documents", idempotency_key, hashed, make))


@router.get("/documents", responses=describe(400, 422))
def list_documents(
    tenant_id: CurrentTenant,
    tx: Tx,
    source_file_id: UUID | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[DocumentLine]:
    """The tenant's documents without their text, newest first; of one file where it is given."""
    before = decode_id_cursor(cursor)
    rows = documents.page(tx, tenant_id, file_id=source_file_id, before=before, limit=limit + 1)
    items = [DocumentLine.model_validate(row, from_attributes=True) for row in rows]
    return page_of(items, lambda item: item.id, limit)


@router.get("/documents/{document_id}", responses=describe(404, 422))
def get_document(document_id: UUID, tenant_id: CurrentTenant, tx: Tx) -> DocumentView:
    """One document with its text."""
    return _view(tx, tenant_id, document_id)


@router.delete("/documents/{document_id}", status_code=204, responses=describe(404, 422))
def delete_document(document_id: UUID, tenant_id: CurrentTenant, tx: Tx) -> None:
    """Delete it, and what was made of it."""
    documents.delete(tx, tenant_id, document_id)


def _view(tx: Tx, tenant_id: UUID, document_id: UUID) -> DocumentView:
    row = documents.load(tx, tenant_id, document_id)
    return DocumentView.model_validate(
        {**row._mapping, "characters": len(row.text)}  # noqa: SLF001 - SQLAlchemy's public name
    )
