"""Tell the tenant that an import has ended."""

from typing import ClassVar
from uuid import UUID

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy


class ImportFinishedMail(JobContract):
    """The import to report on, whether it succeeded or failed. The Message-ID is the job's id, so that
    a mail server or reader that sees a repeat can tell.
    """

    spec: ClassVar[JobSpec] = JobSpec(
        kind="mail.import_finished",
        queue=Queue.HIGH,
        retry=RetryPolicy(attempts=12, base_seconds=5, cap_seconds=3600),
        soft_seconds=40,
        hard_seconds=60,
    )

    import_id: UUID
