"""From a handler's letter to the job's outcome: sent once, logged, and never to who doesn't want it."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from app.ledger.incidents import count_death
from app.ledger.job_error import job_error
from app.ledger.retry import dice
from app.mailing import record, suppressions
from app.mailing.addresses import Address, BadAddress, parse_address
from app.mailing.letters import Letter
from app.mailing.message import Envelope, compose, message_id, sender_of
from app.mailing.recipients import Recipient, recipient_of
from app.mailing.record import Entry, Status
from app.mailing.refusals import Course, Verdict
from app.mailing.rendering import render
from app.mailing.smtp import MailFailed
from app.mailing.suppressions import Reason
from app.mailing.unsubscribe import Wish, unsubscribe_url
from app.plurals import counted
from workers.runtime.context import Context
from workers.runtime.outcome import Cancel, Dead, Done, Outcome, Retry, Snooze

GIVE_UP_SECONDS = 4 * 86_400.0
"""RFC 5321 4.5.4.1: at least four to five days, while it isn't the mail's fault."""
LONGEST_WAIT_SECONDS = 900.0
INCIDENT_KIND = "mail"
"""What somebody has to mend at the mail server is one incident for all kinds of mail."""


def send_letter(ctx: Context, letter: Letter, *, to: str | None = None) -> Outcome:
    """Send the letter to the tenant, or to the address `to`, and say what became of it.

    Sent once in the job's life; again, with the same Message-ID, only when a process died between the
    sending and its record. Call it last: its outcome is the job's.
    """
    with ctx.read() as db:
        tenant = recipient_of(db, ctx.tenant_id)
        try:
            address = parse_address(to or tenant.email)
        except BadAddress as bad:
            return Dead(str(bad), "mail_bad_address")
        barrier = suppressions.find(db, ctx.tenant_id, address.key, letter.topic)
    envelope, entry = _compose(ctx, tenant, letter, address)
    if barrier is not None:
        return _not_sent(ctx, entry, barrier)
    try:
        answer = ctx.once("mail", lambda _key: ctx.mailer.send(envelope))
    except MailFailed as failed:
        return _failed(ctx, entry, failed)
    with ctx.transaction() as tx:
        record.write(tx, replace(entry, status=Status.SENT, **_answered(answer)))
    return Done()


def _compose(
    ctx: Context, tenant: Recipient, letter: Letter, address: Address
) -> tuple[Envelope, Entry]:
    link = None
    if letter.topic is not None:
        wish = Wish(tenant_id=ctx.tenant_id, topic=letter.topic, address=address.key)
        link = unsubscribe_url(wish, tenant.mail_secret, ctx.settings)
    sender = sender_of(ctx.settings.mail_from)
    rendered = render(letter, ctx.settings, unsubscribe_url=link)
    identity = message_id(str(ctx.job.id), sender)
    envelope = compose(rendered, sender=sender, to=address, identity=identity, unsubscribe_url=link)
    entry = Entry(
        tenant_id=ctx.tenant_id,
        job_id=ctx.job.id,
        template=letter.template,
        recipient=str(address),
        subject=rendered.subject,
        message_id=identity,
        status=Status.WAITING,
    )
    return envelope, entry


def _answered(answer: Any) -> dict[str, Any]:
    """The server's `250 2.0.0 Ok` as the log keeps it. None is what earlier releases recorded."""
    code, _, _ = str(answer or "").partition(" ")
    return {"answer": answer, "reply_code": int(code) if code.isdigit() else None}


def _not_sent(ctx: Context, entry: Entry, barrier: suppressions.Suppression) -> Outcome:
    if barrier.reason == Reason.UNSUBSCRIBED:
        status, why = Status.UNSUBSCRIBED, f"{entry.recipient} has unsubscribed."
    else:
        status = Status.SUPPRESSED
        what = "came back" if barrier.reason == Reason.BOUNCED else "was refused"
        why = f"{entry.recipient} is suppressed since a mail {what}: {barrier.detail}"
    with ctx.transaction() as tx:
        record.write(tx, replace(entry, status=status, answer=why))
    return Cancel(why)


def _failed(ctx: Context, entry: Entry, failed: MailFailed) -> Outcome:
    """Logged at once, in a transaction aside: what a failed attempt writes into its own is undone."""
    verdict = failed.verdict
    with ctx.aside() as tx:
        waited = record.age_seconds(tx, ctx.job.id)
        if verdict.course is Course.WAIT and waited > GIVE_UP_SECONDS:
            verdict = _given_up(verdict)
        dead = verdict.course is Course.DEAD
        record.write(
            tx,
            replace(
                entry,
                status=Status.REFUSED if dead else Status.WAITING,
                reply_code=verdict.reply_code,
                answer=verdict.message,
            ),
        )
        if verdict.suppress:
            suppressions.suppress(tx, ctx.tenant_id, entry.recipient, detail=verdict.message)
        if verdict.operator and failed.asked and not dead:
            _report(tx, verdict)
    return _outcome(verdict, waited, ctx.job.id, ctx.job.attempt)


def _outcome(verdict: Verdict, waited: float, job_id: UUID, attempt: int) -> Outcome:
    match verdict.course:
        case Course.DEAD:
            return Dead(verdict.message, verdict.code)
        case Course.RETRY:
            return Retry(verdict.message, after_seconds=verdict.after_seconds)
        case Course.WAIT:
            # Longer the longer it lasts, and not all at the same moment.
            pause = max(verdict.after_seconds, min(waited / 4, LONGEST_WAIT_SECONDS))
            spread = dice(job_id, attempt).uniform(1.0, 1.25)
            return Snooze(pause * spread, reason=verdict.message, code=verdict.code)


def _given_up(verdict: Verdict) -> Verdict:
    days = GIVE_UP_SECONDS / 86_400
    return replace(
        verdict,
        course=Course.DEAD,
        code="mail_given_up",
        message=f"Not sent in {counted(round(days), 'day')}. {verdict.message}",
    )


def _report(tx: Connection, verdict: Verdict) -> None:
    """One open incident, however many mails wait for the same thing."""
    count_death(
        tx, INCIDENT_KIND, {**job_error(verdict.code, verdict.message), "frame": verdict.code}
    )
