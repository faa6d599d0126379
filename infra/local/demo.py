"""`millrace demo`: one CSV through the public API, from upload to e-mail, and what came of it."""

import itertools
import time
from dataclasses import dataclass
from uuid import uuid4

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from infra.local.client import Client, Import
from infra.local.errors import LocalError
from infra.local.mailbox import Mail
from infra.local.product import MIGRATE
from infra.local.sample import sample_csv
from infra.local.starting import Step
from infra.local.system import LocalSystem
from infra.local.tenant import Tenant, make_tenant
from infra.local.waiting import Seconds, until

FILENAME = "contacts.csv"
IMPORT_SECONDS: Seconds = 180
MAIL_SECONDS: Seconds = 30
EXAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the demo saw. Times are seconds."""

    state: Import
    rejected: list[dict[str, str]]
    mail: Mail
    upload_seconds: Seconds
    import_seconds: Seconds
    mail_seconds: Seconds


class Guest:
    """The demo's tenant: a new one each time, so that a second demo inserts again."""

    def __init__(self) -> None:
        self._tenant: Tenant | None = None

    def steps(self, system: LocalSystem) -> list[Step]:
        """Made while RabbitMQ, the slowest part, still starts."""
        return [Step(name="guest", run=lambda: self._arrive(system), needs=[MIGRATE])]

    @property
    def tenant(self) -> Tenant:
        if self._tenant is None:
            raise RuntimeError("the system has not started")
        return self._tenant

    def _arrive(self, system: LocalSystem) -> None:
        name = f"demo-{uuid4().hex[:8]}"
        self._tenant = make_tenant(system, name, email=f"{name}@example.com")


def run_demo(system: LocalSystem, tenant: Tenant, console: Console, *, rows: int) -> Outcome:
    """Import the sample for `tenant` and show the result. Raises LocalError if anything failed."""
    outcome = _import_sample(system, tenant, console, rows)
    _show(outcome, console)
    return outcome


def _import_sample(system: LocalSystem, tenant: Tenant, console: Console, rows: int) -> Outcome:
    client = Client(system.web_url, tenant.api_key)
    content = sample_csv(rows)
    console.print(f"uploading {FILENAME}: {rows:,} rows, {len(content) / 1e6:.1f} MB")
    began = time.monotonic()
    accepted = client.upload(FILENAME, content)
    uploaded = time.monotonic()
    console.print(f"202 Accepted: import {accepted['id']}")
    state = _follow(client, accepted["id"], rows, console)
    ended = time.monotonic()
    if state["status"] != "succeeded":
        raise LocalError(f"the import {state['status']}: {state['error']}")
    mail = _await_mail(system, tenant)
    return Outcome(
        state=state,
        rejected=list(client.rejected(accepted["id"])),
        mail=mail,
        upload_seconds=uploaded - began,
        import_seconds=ended - uploaded,
        mail_seconds=time.monotonic() - ended,
    )


def _follow(client: Client, import_id: str, rows: int, console: Console) -> Import:
    columns = (
        TextColumn("importing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("importing", total=rows)
        for state in client.progress(import_id, seconds=IMPORT_SECONDS):
            bar.update(task, completed=state["progress"]["rows_done"])
    return state


def _await_mail(system: LocalSystem, tenant: Tenant) -> Mail:
    arrived = until(lambda: bool(system.mails(recipient=tenant.email)), seconds=MAIL_SECONDS)
    if not arrived:
        raise LocalError(f"no e-mail to {tenant.email} within {MAIL_SECONDS:.0f} s")
    return system.mails(recipient=tenant.email)[0]


def _show(outcome: Outcome, console: Console) -> None:
    counts = outcome.state["counts"]
    table = Table("", "rows", title="What happened", title_justify="left")
    table.columns[1].justify = "right"
    for name in ("total", "inserted", "updated", "unchanged", "rejected"):
        table.add_row(name, f"{counts[name]:,}")
    console.print(table)
    _show_rejected(outcome.rejected, console)
    rate = counts["total"] / max(outcome.import_seconds, 0.001)
    console.print(
        f"upload {outcome.upload_seconds:.2f} s, import {outcome.import_seconds:.2f} s "
        f"({rate:,.0f} rows/s), e-mail {outcome.mail_seconds:.2f} s later"
    )
    mail = outcome.mail
    console.print(f"\n[bold]The e-mail[/bold] to {mail.recipient}: {mail.subject}", highlight=False)
    for line in mail.text.strip().splitlines():
        console.print(f"  | {line}", markup=False, highlight=False, soft_wrap=True)


def _show_rejected(rejected: list[dict[str, str]], console: Console) -> None:
    """One example of each reason, as far as there is room."""
    by_reason = {row["_error"]: row for row in reversed(rejected)}
    table = Table("row", "column", "why", title="Some of the rejected rows", title_justify="left")
    for reason, row in itertools.islice(by_reason.items(), EXAMPLES):
        table.add_row(row["_row"], row["_column"], reason)
    console.print(table)
