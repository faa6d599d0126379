"""`millrace`: what is not HTTP. Operators' commands and the product's own processes."""

import json
import sys
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError

from app.broker import topology
from app.errors import MillraceError
from app.settings import Settings, get_settings

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
tenants = typer.Typer(no_args_is_help=True, help="The customers.")
keys = typer.Typer(no_args_is_help=True, help="Their API keys.")
storage = typer.Typer(no_args_is_help=True, help="The object store.")
topology_commands = typer.Typer(no_args_is_help=True, help="RabbitMQ's queues and exchanges.")
app.add_typer(tenants, name="tenants")
app.add_typer(keys, name="keys")
app.add_typer(storage, name="storage")
app.add_typer(topology_commands, name="topology")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def web(
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Serve the HTTP API."""
    import uvicorn

    uvicorn.run(
        "app.main:create_app",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=60,
    )


@app.command()
def dispatcher() -> None:
    """Publish due jobs until told to stop."""
    from app.dispatcher import run
    from app.logs import configure_logging

    configure_logging(get_settings())
    run(get_settings())


@app.command()
def migrate() -> None:
    """Bring the database to this version's schema; safe to repeat."""
    from app.migrations.run import upgrade

    upgrade(get_settings())


@tenants.command("create")
def create_tenant(
    name: str,
    email: Annotated[str, typer.Option(help="Where notifications go.")],
    if_missing: Annotated[bool, typer.Option(help="Return it if it is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create a tenant."""
    from app import keys as store
    from app.db import make_engine, transaction
    from app.errors import Unprocessable
    from app.imports.emails import InvalidEmail, check_email

    try:
        address = check_email(email)
    except InvalidEmail as error:
        raise Unprocessable(f"{email!r} is no e-mail address: {error}") from None
    engine = make_engine(get_settings(), pool_size=1, application_name="millrace-cli")
    with transaction(engine) as tx:
        try:
            tenant_id = store.create_tenant(tx, name=name, email=address)
        except Unprocessable:
            if not if_missing:
                raise
            tenant_id = store.find_tenant(tx, name)
    _print({"id": str(tenant_id), "name": name}, as_json, f"{name} is {tenant_id}")


@keys.command("create")
def create_key(
    tenant: Annotated[str, typer.Argument(help="Name or id.")],
    name: Annotated[str, typer.Option(help="What it is for.")] = "default",
    as_json: AsJson = False,
) -> None:
    """Create an API key and show it, this once."""
    from app import keys as store
    from app.db import make_engine, transaction

    engine = make_engine(get_settings(), pool_size=1, application_name="millrace-cli")
    with transaction(engine) as tx:
        key_id, key = store.create_key(tx, store.find_tenant(tx, tenant), name=name)
    _print({"id": str(key_id), "key": key}, as_json, f"{key}\nKeep it: it is not shown again.")


@keys.command("revoke")
def revoke_key(key_id: UUID) -> None:
    """Put a key out of force."""
    from app import keys as store
    from app.db import make_engine, transaction

    engine = make_engine(get_settings(), pool_size=1, application_name="millrace-cli")
    with transaction(engine) as tx:
        store.revoke_key(tx, key_id)
    typer.echo(f"{key_id} is revoked")


@storage.command("init")
def init_storage() -> None:
    """Create the bucket unless it is there."""
    from app.storage import make_storage

    bucket = make_storage(get_settings())
    bucket.ensure_bucket()
    typer.echo(f"bucket {bucket.bucket} is there")


@topology_commands.command("export")
def export_topology(
    out: Annotated[Path, typer.Option()] = Path("infra/rabbitmq/definitions.json"),
) -> None:
    """Write RabbitMQ's definitions file from the code."""
    out.write_text(json.dumps(topology.definitions(), indent=2) + "\n")
    typer.echo(f"wrote {out}")


@topology_commands.command("declare")
def declare_topology() -> None:
    """Declare exchanges, queues and bindings on the broker (policies come with the definitions file)."""
    from app.broker.publisher import connect

    connection = connect(get_settings(), heartbeat=0)
    try:
        topology.declare(connection.channel())
    finally:
        connection.close()
    typer.echo("declared: " + ", ".join(queue.name for queue in topology.QUEUES))


def main() -> None:
    """The console script: errors of ours are one line and exit status 1."""
    if not _is_own_command(sys.argv[1:]):
        _add_installed_commands()
    try:
        app()
    except MillraceError as error:
        _fail(str(error))
    except OperationalError as error:
        _fail(f"The database doesn't answer: {str(error.orig).strip().splitlines()[0]}")
    except ValidationError as error:
        if error.title != Settings.__name__:
            raise
        names = ", ".join(f"MILLRACE_{str(e['loc'][0]).upper()}" for e in error.errors())
        _fail(f"Settings are missing or wrong: {names}. See docs/settings.md.")


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


def _print(facts: dict[str, str], as_json: bool, line: str) -> None:
    typer.echo(json.dumps(facts) if as_json else line)


def _fail(line: str) -> None:
    typer.echo(f"millrace: {line}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
