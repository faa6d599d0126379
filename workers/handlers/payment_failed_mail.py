"""Tell a tenant that a payment didn't go through."""

from app.jobs import PaymentFailedMail
from app.mailing.letters import PaymentFailed
from workers.mailing import send_letter
from workers.runtime.context import Context
from workers.runtime.outcome import Outcome
from workers.runtime.registry import handles


@handles(PaymentFailedMail)
def payment_failed_mail(ctx: Context, job: PaymentFailedMail) -> Outcome:
    """Send the mail once."""
    letter = PaymentFailed(
        invoice_id=job.invoice_id,
        amount_minor=job.amount_due_minor,
        currency=job.currency,
        invoice_url=job.hosted_invoice_url,
    )
    return send_letter(ctx, letter, to=job.recipient)
