"""Send one event to one of the tenant's endpoints."""

from app.jobs import WebhookDeliver
from app.ledger.retry import dice, tries_made
from app.outbound.breaker import Breaker, CircuitOpen, Permit
from app.webhooks import deliveries, health, sending, settling, slots, verdict
from app.webhooks.deliveries import Parcel
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
    reason = verdict.give_up_reason(parcel.is_enabled, age_seconds=parcel.age_seconds)
    if reason is not None:
        with ctx.transaction() as tx:
            settling.give_up(tx, parcel, reason)
        return Cancel(reason)
    breaker = health.breaker_of(ctx.engine, parcel)
    try:
        return _attempt(ctx, parcel, breaker, breaker.admit())
    except CircuitOpen as left_alone:
        pause = verdict.snooze_seconds(left_alone.retry_after, dice(ctx.job.id, ctx.job.attempt))
        return Snooze(pause, "The endpoint is left alone after failures.", "circuit_open")
    except slots.Busy as busy:
        return Snooze(busy.seconds, str(busy), "endpoint_busy")


def _attempt(ctx: Context, parcel: Parcel, breaker: Breaker, permit: Permit) -> Outcome:
    dices = dice(ctx.job.id, ctx.job.attempt)
    with health.reporting(breaker, permit) as report:
        with ctx.aside() as tx:
            attempt_id = slots.begin_attempt(tx, parcel, ctx.settings, dices)
        limit = sending.time_limit(parcel, is_probe=permit.is_probe)
        came, tried = sending.send(ctx.settings, parcel, seconds=limit)
        judged = report(verdict.judge(came))
    if judged.is_delivered:
        with ctx.transaction() as tx:
            settling.record_success(tx, parcel, attempt_id, tried)
        return Done()
    is_last = ctx.job.attempt >= ctx.job.max_attempts
    with ctx.aside() as tx:
        if settling.record_failure(tx, parcel, attempt_id, tried, judged, is_last=is_last):
            return Cancel(judged.reason)
    policy = WebhookDeliver.spec.retry
    tries = tries_made(policy, attempt=ctx.job.attempt, max_attempts=ctx.job.max_attempts)
    pause = verdict.pause_seconds(tries, retry_after=judged.retry_after, dice=dices)
    return Retry(judged.reason, pause)
