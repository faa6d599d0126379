"""Tell a tenant that a payment didn't go through."""

from typing import Annotated, ClassVar

from pydantic import Field

from app.broker.topology import Queue
from app.ledger.contract import JobContract, JobSpec
from app.ledger.retry import RetryPolicy
from app.mailing.wording import WebAddress


class PaymentFailedMail(JobContract):
    """`amount_due_minor` is in the currency's minor unit as the payment provider counts it (cents, or whole
    yen). `hosted_invoice_url` is where it can be paid; `recipient` an address instead of the tenant's own.
    """

    spec: ClassVar[JobSpec] = JobSpec(
        kind="mail.payment_failed",
        queue=Queue.HIGH,
        retry=RetryPolicy(attempts=12, base_seconds=5, cap_seconds=3600),
        soft_seconds=40,
        hard_seconds=60,
    )

    invoice_id: Annotated[str, Field(min_length=1, max_length=255)]
    amount_due_minor: Annotated[int, Field(ge=0)]
    currency: Annotated[str, Field(pattern="^[A-Za-z]{3}$", examples=["EUR"])]
    hosted_invoice_url: Annotated[
        WebAddress | None, Field(examples=["https://pay.example.com/in_0042"])
    ] = None
    recipient: Annotated[str, Field(max_length=320)] | None = None
