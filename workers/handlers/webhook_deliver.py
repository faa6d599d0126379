"""Send one event to one of the tenant's endpoints."""

from app.jobs import WebhookDeliver
from app.ledger.retry import dice
from app.outbound.breaker import Breaker, CircuitOpen, Permit
from app.webhooks import deliveries, health, sending
from app.webhooks.deliveries import Parcel
from app.webhooks.settling import record_failure
from app.webhooks.verdict import give_up_reason, judge, pause_seconds, snooze_seconds
from workers.runtime.context import Context
from workers.runtime.outcome import Cancel, Done, Outcome, Retry, Snooze
from workers.runtime.registry import handles


@handles(WebhookDeliver)
def webhook_deliver(ctx: Context, job: WebhookDeliver) -> Outcome:
    """At least once, always with the same webhook-id. What fails for good is the tenant's to see in the
    delivery log and to redeliver, and no dead letter of the operator's.
    """
    with ctx.read() as db:
        parcel = deliveries.load_parcel(db, ctx.tenant_id, job.delivery_id)
    if parcel is None or parcel.run != job.run or parcel.state != "pending":
        return Cancel("There is nothing left to send.")
    reason = give_up_reason(is_enabled=parcel.is_enabled, age_seconds=parcel.age_seconds)
    if reason is not None:
        with ctx.transaction() as tx:
            state = "failed" if parcel.is_enabled else "cancelled"
            deliveries.end_delivery(tx, parcel, state, reason)
        return Cancel(reason)
    breaker = health.breaker_of(ctx.engine, parcel)
    try:
        permit = breaker.admit()
    except CircuitOpen as left_alone:
        pause = snooze_seconds(left_alone.retry_after, dice(ctx.job.id, ctx.job.attempt))
        return Snooze(pause, "The endpoint is left alone after failures.", "circuit_open")
    return _attempt(ctx, parcel, breaker, permit)


def _attempt(ctx: Context, parcel: Parcel, breaker: Breaker, permit: Permit) -> Outcome:
    with health.reporting(breaker, permit) as report:
        with ctx.aside() as tx:
            attempt_id = deliveries.begin_attempt(tx, parcel.id)
        came, tried = sending.send(ctx.settings, parcel)
        verdict = report(judge(came, now=parcel.now))
    if verdict.is_delivered:
        with ctx.transaction() as tx:
            deliveries.finish_attempt(tx, attempt_id, tried)
            deliveries.end_delivery(tx, parcel, "delivered")
            health.is_well(tx, parcel.endpoint_id)
        return Done()
    is_last = ctx.job.attempt >= ctx.job.max_attempts
    with ctx.aside() as tx:
        if record_failure(tx, parcel, attempt_id, tried, verdict, is_last=is_last):
            return Cancel(verdict.reason)
    dices = dice(ctx.job.id, ctx.job.attempt)
    pause = pause_seconds(attempt=ctx.job.attempt, retry_after=verdict.retry_after, dice=dices)
    return Retry(verdict.reason, pause)
