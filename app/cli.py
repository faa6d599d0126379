"""`millrace`: what is not HTTP. Operators' commands and the product's own processes."""

import json
import sys
from decimal import Decimal, InvalidOperation
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from app import (
    batches_cli,
    capacity_cli,
    connections_cli,
    contracts_cli,
    csv_cli,
    deletion_cli,
    dispatch_cli,
    doctor_cli,
    incidents_cli,
    jobs_cli,
    keys_cli,
    mail_cli,
    payments_cli,
    schedules_cli,
    secrets_cli,
    tasks_cli,
    tenants_cli,
)
from app.broker import topology
from app.failing import in_one_line
from app.loading import loading
from app.terminal import BY_COMMAND, AsJson, Why, answer, table, transaction

MAX_BUDGET = 1_000_000_000


app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
tenants = typer.Typer(no_args_is_help=True, help="The customers.")
storage = typer.Typer(no_args_is_help=True, help="The object store.")
topology_commands = typer.Typer(no_args_is_help=True, help="RabbitMQ's queues and exchanges.")
tenants.command("list")(tenants_cli.list_tenants)
tenants.command("top")(tenants_cli.top)
tenants.command("delete")(deletion_cli.delete)
app.add_typer(tenants, name="tenants")
app.add_typer(keys_cli.app, name="keys")
app.add_typer(jobs_cli.app, name="jobs")
app.add_typer(dispatch_cli.queues, name="queues")
app.add_typer(dispatch_cli.kinds, name="kinds")
dispatch_cli.add_to(tenants)
app.add_typer(batches_cli.app, name="batches")
app.add_typer(incidents_cli.app, name="incidents")
app.add_typer(schedules_cli.app, name="schedules")
app.add_typer(mail_cli.app, name="mail")
app.add_typer(payments_cli.app, name="payments")
app.add_typer(csv_cli.app, name="csv")
app.add_typer(contracts_cli.app, name="contracts")
app.add_typer(tasks_cli.app, name="tasks")
app.add_typer(connections_cli.app, name="connections")
app.add_typer(secrets_cli.app, name="secrets")
app.add_typer(storage, name="storage")
app.add_typer(topology_commands, name="topology")
app.command()(capacity_cli.capacity)
app.command()(doctor_cli.doctor)


@app.command()
def web(host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve the HTTP API until told to stop; one process, of which any number may run."""
    with loading():
        from app.serving import run
        from app.settings import get_settings

    run(get_settings(), host=host, port=port)


@app.command()
def dispatcher() -> None:
    """Publish due jobs until told to stop."""
    with loading():
        from app.dispatcher import run
        from app.logs import configure_logging
        from app.settings import get_settings

    configure_logging(get_settings())
    run(get_settings())


@app.command()
def migrate(as_json: AsJson = False) -> None:
    """Bring the database to this version's schema and standard schedules; safe to repeat."""
    from app.ai.vectors import prepare
    from app.db import set_session_options
    from app.migrations.run import newest, upgrade
    from app.schedules.defaults import install_defaults
    from app.settings import get_settings

    settings = get_settings()
    upgrade(settings)
    if settings.pooled:
        set_session_options(settings)
    with transaction(settings.direct) as tx:
        install_defaults(tx)
    with transaction(settings.direct) as tx:
        prepare(tx)
    at = newest(settings)
    answer({"at": at}, f"the database is at {at}", as_json=as_json)


@tenants.command("create")
def create_tenant(
    name: str,
    email: Annotated[str, typer.Option(help="Where notifications go.")],
    timezone: Annotated[str, typer.Option(help="Where its days begin (IANA).")] = "UTC",
    trial_days: Annotated[
        int | None, typer.Option(min=0, max=3650, help="On trial for so long.")
    ] = None,
    if_missing: Annotated[bool, typer.Option(help="Return it if it is there.")] = False,
    welcome: Annotated[bool, typer.Option(help="Greet it by mail.")] = True,
    reason: Why = BY_COMMAND,
    as_json: AsJson = False,
) -> None:
    """Create a tenant."""
    from app import keys as store
    from app.errors import Unprocessable
    from app.imports.emails import InvalidEmail, check_email
    from app.jobs import WelcomeMail
    from app.ledger.enqueue import enqueue
    from app.operations.actor import Actor
    from app.operations.tenants import create
    from app.schedules.cron import zone
    from app.schedules.defaults import install_defaults

    zone(timezone)
    try:
        address = check_email(email)
    except InvalidEmail as error:
        raise Unprocessable(f"{email!r} is no e-mail address: {error}") from None
    with transaction() as tx:
        try:
            facts = {"name": name, "email": address, "timezone": timezone}
            actor = Actor.at_the_command_line()
            tenant_id = create(tx, actor, **facts, trial_days=trial_days, reason=reason)
            if welcome:
                enqueue(tx, tenant_id, WelcomeMail())
        except Unprocessable:
            if not if_missing:
                raise
            tenant_id = store.find_tenant(tx, name)
        install_defaults(tx, tenant_id)
    answer({"id": tenant_id, "name": name}, f"{name} is {tenant_id}", as_json=as_json)


@tenants.command("timezone")
def set_timezone(
    tenant: Annotated[str, typer.Argument(help="Name or id.")],
    timezone: Annotated[str, typer.Argument(help="IANA name, such as Europe/Berlin.")],
    reason: Why = BY_COMMAND,
    as_json: AsJson = False,
) -> None:
    """Move a tenant's days, and the schedules that follow them, to another time zone."""
    from app import keys as store
    from app.operations.actor import Actor
    from app.operations.tenants import set_timezone as move
    from app.schedules.cron import zone

    zone(timezone)
    with transaction() as tx:
        tenant_id = store.find_tenant(tx, tenant)
        move(tx, Actor.at_the_command_line(), tenant_id, timezone, reason=reason)
    facts = {"id": tenant_id, "timezone": timezone}
    answer(facts, f"{tenant} is in {timezone}", as_json=as_json)


@tenants.command("limits")
def set_limits(
    tenant: Annotated[str, typer.Argument(help="Name or id.")],
    max_bytes: Annotated[int | None, typer.Option(min=1, help="Of one file.")] = None,
    max_rows: Annotated[int | None, typer.Option(min=1, help="Of one file.")] = None,
    max_open: Annotated[int | None, typer.Option(min=0, help="Imports at once.")] = None,
    reason: Why = BY_COMMAND,
    as_json: AsJson = False,
) -> None:
    """Set a tenant's own limits for imports; what isn't given goes back to the settings' default."""
    from dataclasses import asdict

    from app import keys as store
    from app.imports import limits
    from app.operations.actor import Actor
    from app.operations.tenants import set_import_limits
    from app.settings import get_settings

    wanted = {"max_bytes": max_bytes, "max_rows": max_rows, "max_open": max_open}
    with transaction() as tx:
        actor, tenant_id = Actor.at_the_command_line(), store.find_tenant(tx, tenant)
        set_import_limits(tx, actor, tenant_id, **wanted, reason=reason)
        facts = asdict(limits.limits_of(tx, tenant_id, get_settings()))
    words = ", ".join(f"{name} {value:,}" for name, value in facts.items())
    answer(facts, f"{tenant}: {words}", as_json=as_json)


@tenants.command("budget")
def set_budget(
    tenant: Annotated[str, typer.Argument(help="Name or id.")],
    amount: Annotated[
        str | None, typer.Argument(help="For a calendar month, in the currency of the prices.")
    ] = None,
    default: Annotated[bool, typer.Option(help="Back to the settings' default.")] = False,
    reason: Why = BY_COMMAND,
    as_json: AsJson = False,
) -> None:
    """Show what a tenant may spend on AI this month, or set it. What stopped can then be replayed."""
    from app import keys as store
    from app.ai import budget
    from app.operations.actor import Actor
    from app.operations.tenants import set_budget as allow
    from app.settings import get_settings

    wanted = None if amount is None else _amount(amount)
    with transaction() as tx:
        tenant_id = store.find_tenant(tx, tenant)
        if default or wanted is not None:
            allow(tx, Actor.at_the_command_line(), tenant_id, wanted, reason=reason)
        state = budget.budget_of(tx, tenant_id, get_settings().ai_monthly_budget)
    amounts = {"budget": state.budget, "spent": state.spent, "left": state.left}
    facts = {name: budget.in_figures(value) for name, value in amounts.items()}
    words = ", ".join(f"{name} {value}" for name, value in facts.items())
    answer(facts, f"{tenant}: {words}", as_json=as_json)


@tenants.command("retention")
def set_retention(
    tenant: Annotated[str | None, typer.Argument(help="Name or id; without it, everyone.")] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="WHAT=DAYS, such as imports=90, or WHAT=default; repeatable."),
    ] = None,
    reason: Why = BY_COMMAND,
    as_json: AsJson = False,
) -> None:
    """Show for how many days what has ended is kept, or change it for a tenant or for everyone.

    Everyone is who has no choice of their own. What is older goes with the next clean-up, for good.
    """
    from dataclasses import asdict

    from app import keys as store
    from app.ids import SYSTEM_TENANT
    from app.operations.actor import Actor
    from app.operations.tenants import set_retention as keep_for
    from app.retention import KEPT, chosen_words
    from app.settings import get_settings
    from app.upkeep.kept import terms

    wanted = chosen_words(keep or (), of_tenant=tenant is not None)
    with transaction() as tx:
        tenant_id = SYSTEM_TENANT if tenant is None else store.find_tenant(tx, tenant)
        if wanted:
            keep_for(tx, Actor.at_the_command_line(), tenant_id, wanted, reason=reason)
        found = terms(tx, KEPT, default=get_settings().retention_days, tenant_id=tenant_id)
    if as_json:
        typer.echo(json.dumps([asdict(term) for term in found]))
        return
    rows = [(term.what, str(term.days), term.source, term.about) for term in found]
    table(("WHAT", "DAYS", "SET BY", ""), rows)


@storage.command("init")
def init_storage(as_json: AsJson = False) -> None:
    """Create the bucket unless it is there."""
    from app.settings import get_settings
    from app.storage import make_storage

    bucket = make_storage(get_settings())
    bucket.ensure_bucket()
    answer({"bucket": bucket.bucket}, f"bucket {bucket.bucket} is there", as_json=as_json)


@topology_commands.command("export")
def export_topology(
    out: Annotated[Path, typer.Option()] = Path("infra/rabbitmq/definitions.json"),
    as_json: AsJson = False,
) -> None:
    """Write RabbitMQ's definitions file from the code."""
    out.write_text(json.dumps(topology.definitions(), indent=2) + "\n")
    answer({"written": str(out)}, f"wrote {out}", as_json=as_json)


@topology_commands.command("declare")
def declare_topology(as_json: AsJson = False) -> None:
    """Declare exchanges, queues and bindings on the broker (policies come with the definitions file)."""
    from app.broker.publisher import connect, prepare_shards
    from app.jobs import CATALOG
    from app.ledger.affinity import affinity_of
    from app.settings import get_settings

    connection = connect(get_settings(), heartbeat=0)
    try:
        topology.declare(connection.channel())
    finally:
        connection.close()
    affinity = prepare_shards(get_settings(), affinity_of(get_settings(), CATALOG))
    names = [queue.name for queue in (*topology.QUEUES, *affinity.queues)]
    answer({"queues": names}, "declared: " + ", ".join(names), as_json=as_json)


def _amount(words: str) -> Decimal:
    from app.errors import Unprocessable

    try:
        amount = Decimal(words)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount < MAX_BUDGET:
        raise Unprocessable(f"{words!r} is no budget. Give a number, such as 25 or 0.50.")
    return amount


def main() -> None:
    """The console script: what fails is one line and exit status 1."""
    if not _is_own_command(sys.argv[1:]):
        _add_installed_commands()
    with in_one_line():
        app()


def _is_own_command(words: list[str]) -> bool:
    own = {
        command.name or getattr(command.callback, "__name__", "")
        for command in app.registered_commands
    }
    own |= {group.name or "" for group in app.registered_groups}
    return bool(words) and words[0] in own


def _add_installed_commands() -> None:
    """`up`, `demo` and others: importing them takes longer than most commands of ours run."""
    for point in entry_points(group="millrace.commands"):
        if _installed(point.module):
            app.add_typer(import_module(point.module).app)


def _installed(module: str) -> bool:
    """Images carry no `infra`, and so no commands of the local system."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


if __name__ == "__main__":
    main()
