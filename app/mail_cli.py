"""`millrace mail`: the mail server, and the addresses that are not written to."""

import json
from typing import Annotated
from uuid import UUID

import typer

from app.terminal import AsJson, plain, table, transaction, when

app = typer.Typer(no_args_is_help=True, help="Mail.")

Tenant = Annotated[str, typer.Argument(help="Name or id.")]
MAX_LISTED = 1000


@app.command()
def check() -> None:
    """Connect to the mail server, encrypt and log in as for a mail, and send none."""
    from app.errors import Unavailable
    from app.mailing.smtp import Mailer, MailFailed
    from app.settings import get_settings

    settings = get_settings()
    try:
        Mailer(settings).check()
    except MailFailed as failed:
        raise Unavailable(str(failed), code=failed.verdict.code) from None
    typer.echo(f"{settings.smtp_host}:{settings.smtp_port} takes mail ({settings.smtp_tls.value})")


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
def unsuppress(
    tenant: Tenant,
    suppression: Annotated[UUID, typer.Argument(help="Its id, from `suppressions`.")],
) -> None:
    """Let a tenant's mail go to the address again."""
    from app.keys import find_tenant
    from app.mailing.suppressions import remove

    with transaction() as tx:
        remove(tx, find_tenant(tx, tenant), suppression)
    typer.echo(f"{suppression} is removed")
