"""Apply a recorded event of the payment provider's."""

from app.jobs import PaymentApplyEvent
from app.payments.apply import apply_event
from workers.runtime.context import Context
from workers.runtime.outcome import Done, Outcome
from workers.runtime.registry import handles


@handles(PaymentApplyEvent)
def payment_apply_event(ctx: Context, job: PaymentApplyEvent) -> Outcome:
    """Subscription, plan, mail and the event's own mark change in one commit."""
    with ctx.transaction() as tx:
        apply_event(tx, job.event_id, job_id=ctx.job.id)
    return Done()
