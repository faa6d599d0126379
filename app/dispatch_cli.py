"""`millrace queues`, `kinds` and `tenants pause`: whose jobs are sent, and how many at once."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from app.broker.topology import Queue
from app.terminal import AsJson, table, transaction, when

queues = typer.Typer(no_args_is_help=True, help="The work queues: pause and resume them.")
kinds = typer.Typer(no_args_is_help=True, help="The kinds of jobs: pause, resume and limit them.")

Why = Annotated[str, typer.Option(help="Shown with the pause.")]
AtOnce = Annotated[
    int | None,
    typer.Option(min=0, help="Jobs with the broker or a worker at once; none: no limit."),
]
Weight = Annotated[
    int | None, typer.Option(min=1, max=100, help="Jobs in a turn, where others have one.")
]
Tenant = Annotated[str, typer.Argument(help="Name or id.")]
_PAUSED = "Paused by an operator."


@queues.command("pause")
def pause_queue(queue: Queue, reason: Why = _PAUSED) -> None:
    """Send nothing to a queue until it is resumed; what was sent already still runs."""
    _pause("queue", queue.value, reason)


@queues.command("resume")
def resume_queue(queue: Queue) -> None:
    """Send to the queue again."""
    _resume("queue", queue.value)


@queues.command("rules")
def show_rules(as_json: AsJson = False) -> None:
    """Show what is paused, limited or weighted: queues, kinds, tenants, plans."""
    from app.ledger.rules import load_rules

    with transaction() as tx:
        rules = list(load_rules(tx).by_name.values())
    if as_json:
        typer.echo(json.dumps([asdict(rule) for rule in rules], default=str))
        return
    head = ("WHAT", "NAME", "PAUSED", "AT ONCE", "WEIGHT", "WHY")
    rows = [
        (
            rule.scope.value,
            rule.name,
            when(rule.paused_at),
            "-" if rule.max_running is None else str(rule.max_running),
            "-" if rule.weight is None else str(rule.weight),
            rule.paused_reason or "",
        )
        for rule in rules
    ]
    table(head, rows)


@kinds.command("pause")
def pause_kind(kind: str, reason: Why = _PAUSED) -> None:
    """Send no jobs of a kind until it is resumed."""
    _pause("kind", _known(kind), reason)


@kinds.command("resume")
def resume_kind(kind: str) -> None:
    """Send the kind's jobs again; a kind that the code no longer has is taken off the list."""
    _resume("kind", kind)


@kinds.command("limit")
def limit_kind(kind: str, at_once: AtOnce = None) -> None:
    """Set how many jobs of a kind may be in flight at once, over all tenants."""
    _limit("kind", _known(kind), at_once, None)


def pause_tenant(tenant: Tenant, reason: Why = _PAUSED) -> None:
    """Send none of a tenant's jobs until it is resumed; they are accepted and wait."""
    _pause("tenant", _tenant_id(tenant), reason)


def resume_tenant(tenant: Tenant) -> None:
    """Send the tenant's jobs again."""
    _resume("tenant", _tenant_id(tenant))


def share(tenant: Tenant, at_once: AtOnce = None, weight: Weight = None) -> None:
    """Set how many of a tenant's jobs may be in flight at once, and its weight; what isn't given goes back
    to the plan's.
    """
    _limit("tenant", _tenant_id(tenant), at_once, weight)


def plan_share(
    plan: Annotated[str, typer.Argument(help="trial, active or expired.")],
    at_once: AtOnce = None,
    weight: Weight = None,
) -> None:
    """Set the same for each tenant on a plan that has none of its own."""
    from app.errors import Unprocessable

    if plan not in {"trial", "active", "expired"}:
        raise Unprocessable(f"There is no plan {plan!r}. Use trial, active or expired.")
    _limit("plan", plan, at_once, weight)


def add_to(tenants: typer.Typer) -> None:
    """The commands about one tenant or plan, among the others about tenants."""
    tenants.command("pause")(pause_tenant)
    tenants.command("resume")(resume_tenant)
    tenants.command("share")(share)
    tenants.command("plan-share")(plan_share)


def _pause(scope: str, name: str, reason: str) -> None:
    from app.ledger.rules import Scope, pause

    with transaction() as tx:
        pause(tx, Scope(scope), name, reason=reason)
    typer.echo(f"{scope} {name} is paused")


def _resume(scope: str, name: str) -> None:
    from app.ledger.rules import Scope, resume

    with transaction() as tx:
        resume(tx, Scope(scope), name)
    typer.echo(f"{scope} {name} is not paused")


def _limit(scope: str, name: str, at_once: int | None, weight: int | None) -> None:
    from app.ledger.rules import Scope, set_limits

    with transaction() as tx:
        set_limits(tx, Scope(scope), name, max_running=at_once, weight=weight)
    limit = "any number" if at_once is None else str(at_once)
    typer.echo(f"{scope} {name}: {limit} at once, weight {weight or 'of its plan, or 1'}")


def _known(kind: str) -> str:
    from app.errors import NotFound
    from app.jobs import CATALOG

    if kind not in CATALOG:
        raise NotFound(f"There is no kind {kind!r}. Kinds: {', '.join(sorted(CATALOG))}")
    return kind


def _tenant_id(tenant: str) -> str:
    from app import keys as store

    with transaction() as tx:
        return str(store.find_tenant(tx, tenant))
