"""`millrace mail`: the mail server, and the addresses that are not written to."""

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from app.terminal import BY_COMMAND, AsJson, Why, answer, plain, table, transaction, when

app = typer.Typer(no_args_is_help=True, help="Mail.")

Tenant = Annotated[str, typer.Argument(help="Name or id.")]
MAX_LISTED = 1000
MAX_MESSAGE_BYTES = 20 * 1024 * 1024
TRY_LATER = 75
"""The exit status (EX_TEMPFAIL) at which a mail server keeps the message and pipes it again later."""


@app.command()
def check(as_json: AsJson = False) -> None:
    """Connect to the mail server, encrypt and log in as for a mail, and send none."""
    from app.errors import Unavailable
    from app.mailing.smtp import Mailer, MailFailed
    from app.settings import get_settings

    settings = get_settings()
    try:
        Mailer(settings).check()
    except MailFailed as failed:
        raise Unavailable(str(failed), code=failed.verdict.code) from None
    where, tls = f"{settings.smtp_host}:{settings.smtp_port}", settings.smtp_tls.value
    answer({"server": where, "tls": tls}, f"{where} takes mail ({tls})", as_json=as_json)


@app.command("suppressions")
def list_suppressions(tenant: Tenant, as_json: AsJson = False) -> None:
    """Show the addresses that a tenant's mail doesn't go to, and why."""
    from app.keys import find_tenant
    from app.mailing.suppressions import page

    with transaction() as tx:
        found = page(tx, find_tenant(tx, tenant), limit=MAX_LISTED)
    facts = [
        {
            "id": str(each.id),
            "address": each.address,
            "topic": each.topic,
            "reason": each.reason,
            "detail": each.detail,
            "created_at": each.created_at.isoformat(),
        }
        for each in found
    ]
    if as_json:
        typer.echo(json.dumps(facts))
        return
    rows = [
        (
            str(each.id),
            each.address,
            each.topic or "all",
            each.reason,
            when(each.created_at),
            plain(each.detail or ""),
        )
        for each in found
    ]
    table(("ID", "ADDRESS", "MAILS", "REASON", "SINCE", "DETAIL"), rows)


@app.command()
def bounces(
    file: Annotated[str, typer.Argument(help="A message or an mbox; - is standard input.")],
    as_json: AsJson = False,
) -> None:
    """Read what mail servers reported about mails of ours, and act on it. Also for a mail server's pipe: what
    is no report is passed over, and without a database it ends with status 75, for another try.
    """
    from sqlalchemy.exc import OperationalError

    from app.mailing.bounces import take_message

    handled = []
    others = 0
    try:
        for data in _messages(_content(file)):
            with transaction() as tx:
                found = take_message(tx, data)
            handled += found
            others += not found
    except OperationalError as away:
        typer.echo(f"millrace: the database doesn't answer: {plain(str(away.orig))}", err=True)
        raise typer.Exit(TRY_LATER) from None
    facts = [
        {
            "message_id": each.report.message_id,
            "recipient": each.report.recipients[0],
            "action": each.report.action,
            "status": each.report.status,
            "answer": each.report.answer,
            "outcome": each.outcome.value,
        }
        for each in handled
    ]
    if as_json:
        typer.echo(json.dumps({"reports": facts, "other_messages": others}))
        return
    for fact in facts:
        line = f"{fact['outcome']}: {fact['recipient']} {fact['status']} {fact['answer']}"
        typer.echo(plain(line))
    if others:
        typer.echo(f"no report: {others}")


def _content(file: str) -> bytes:
    from app.errors import Unprocessable

    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as unreadable:
        raise Unprocessable(f"{file} can't be read: {unreadable.strerror}.") from None


def _messages(content: bytes) -> Iterator[bytes]:
    """Of an mbox, or the one that there is; of each no more than a report can be long."""
    from tempfile import NamedTemporaryFile

    if not content.startswith(b"From "):
        yield content[:MAX_MESSAGE_BYTES]
        return
    import mailbox

    with NamedTemporaryFile() as kept:
        kept.write(content)
        kept.flush()
        with closing(mailbox.mbox(kept.name, create=False)) as box:
            for key in box.iterkeys():
                yield box.get_bytes(key)[:MAX_MESSAGE_BYTES]


@app.command()
def unsuppress(
    tenant: Tenant,
    suppression: Annotated[UUID, typer.Argument(help="Its id, from `suppressions`.")],
    reason: Why = BY_COMMAND,
    as_json: AsJson = False,
) -> None:
    """Let a tenant's mail go to the address again."""
    from app.keys import find_tenant
    from app.operations import mail
    from app.operations.actor import Actor

    with transaction() as tx:
        actor, tenant_id = Actor.at_the_command_line(), find_tenant(tx, tenant)
        mail.unsuppress(tx, actor, tenant_id, suppression, reason=reason)
    facts = {"id": suppression, "removed": True}
    answer(facts, f"{suppression} is removed", as_json=as_json)
