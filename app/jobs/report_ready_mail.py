"""Tell a tenant that a report or export can be fetched."""

from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Field

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy
from app.mailing.wording import PathBelow


class ReportReadyMail(JobContract):
    """`title` is what was asked for, in a few words. `download_path` is a path below the public URL, such as
    `/v1/exports/<id>/file`; `expires_at` is until when it leads somewhere. `recipient` is an address
    instead of the tenant's own.
    """

    spec: ClassVar[JobSpec] = JobSpec(
        kind="mail.report_ready",
        queue=Queue.HIGH,
        retry=RetryPolicy(attempts=12, base_seconds=5, cap_seconds=3600),
        soft_seconds=40,
        hard_seconds=60,
    )

    title: Annotated[str, Field(min_length=1, max_length=500)]
    download_path: Annotated[PathBelow, Field(examples=["/v1/exports/0042/file"])]
    expires_at: AwareDatetime | None = None
    recipient: Annotated[str, Field(max_length=320)] | None = None
