"""Mail: what was sent and what became of it, and the addresses that are not written to."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from app.api.pages import Cursor, Limit, Page, decode_id_cursor, page_of
from app.api.problems import describe
from app.api.session import CurrentTenant, Tx
from app.mailing import record, suppressions
from app.mailing.letters import Topic
from app.mailing.record import Status
from app.mailing.suppressions import Reason

router = APIRouter(prefix="/v1", tags=["mail"])


class MailView(BaseModel):
    """A mail job's mail. `waiting`: it is tried again; `refused`: for good, and `answer` says why;
    `suppressed` and `unsubscribed`: it was not tried; `bounced`: it was sent, and came back.
    """

    id: UUID
    job_id: UUID
    template: Annotated[str, Field(examples=["import_finished"])]
    recipient: str
    subject: str
    message_id: str
    status: Status
    reply_code: Annotated[int | None, Field(description="The mail server's.", examples=[250])]
    answer: Annotated[str | None, Field(description="Its words, or ours where it wasn't asked.")]
    created_at: datetime
    updated_at: datetime
    sent_at: datetime | None
    bounce_status: Annotated[
        str | None,
        Field(description="What was reported later; also of a delay.", examples=["5.1.1"]),
    ]
    bounce_answer: str | None
    bounced_at: datetime | None


class SuppressionView(BaseModel):
    """An address that is not written to; `topic` null means by no mail at all."""

    id: UUID
    address: str
    topic: Topic | None
    reason: Reason
    detail: Annotated[str | None, Field(description="The mail server's words.")]
    created_at: datetime


@router.get("/mails", responses=describe(400, 422))
def list_mails(
    tenant_id: CurrentTenant,
    tx: Tx,
    status: Annotated[Status | None, Query(description="Only those in this state.")] = None,
    template: Annotated[str | None, Query(description="Only those of this template.")] = None,
    recipient: Annotated[str | None, Query(description="Only those to this address.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[MailView]:
    """The tenant's mails, newest first, for as long as the retention says."""
    found = record.page(
        tx,
        tenant_id,
        before=decode_id_cursor(cursor),
        status=status,
        template=template,
        recipient=recipient,
        limit=limit + 1,
    )
    views = [MailView.model_validate(each, from_attributes=True) for each in found]
    return page_of(views, lambda item: item.id, limit)


@router.get("/mail-suppressions", responses=describe(400, 422))
def list_suppressions(
    tenant_id: CurrentTenant,
    tx: Tx,
    address: Annotated[str | None, Query(description="Only this address.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[SuppressionView]:
    """The addresses that the tenant's mail doesn't go to, newest first."""
    found = suppressions.page(
        tx, tenant_id, before=decode_id_cursor(cursor), address=address, limit=limit + 1
    )
    views = [SuppressionView.model_validate(each, from_attributes=True) for each in found]
    return page_of(views, lambda item: item.id, limit)


@router.delete("/mail-suppressions/{suppression_id}", status_code=204, responses=describe(404, 422))
def delete_suppression(suppression_id: UUID, tenant_id: CurrentTenant, tx: Tx) -> None:
    """Write to the address again. Mails that were not sent meanwhile stay unsent; retry their jobs."""
    suppressions.remove(tx, tenant_id, suppression_id)
