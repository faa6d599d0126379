"""`millrace queues`, `kinds` and `tenants pause`: whose jobs are sent, and how many at once."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from app.broker.topology import Queue
from app.terminal import BY_COMMAND, AsJson, Why, answer, table, transaction, when

queues = typer.Typer(no_args_is_help=True, help="The work queues: look at them, pause and resume.")
kinds = typer.Typer(no_args_is_help=True, help="The kinds of jobs: pause, resume and limit them.")

AtOnce = Annotated[
    int | None,
    typer.Option(min=0, help="Jobs with the broker or a worker at once; none: no limit."),
]
Weight = Annotated[
    int | None, typer.Option(min=1, max=100, help="Jobs in a turn, where others have one.")
]
Tenant = Annotated[str, typer.Argument(help="Name or id.")]
_PAUSED = "Paused by an operator."
_RESUMED = "Resumed by an operator."


@queues.command("list")
def list_queues(as_json: AsJson = False) -> None:
    """Show what waits in each queue and what is under way. The ages are seconds."""
    from app.ledger.depth import read_depths
    from app.ledger.rules import Scope, load_rules

    with transaction() as tx:
        found = {depth.queue: depth for depth in read_depths(tx)}
        rules = load_rules(tx).by_name
    facts = []
    for queue in Queue:
        depth, rule = found.get(queue.value), rules.get((Scope.QUEUE, queue.value))
        facts.append(
            {
                "queue": queue.value,
                "due": depth.due if depth else 0,
                "later": depth.later if depth else 0,
                "queued": depth.queued if depth else 0,
                "running": depth.running if depth else 0,
                "oldest_seconds": depth.oldest_seconds if depth else 0.0,
                "paused_at": rule and rule.paused_at,
                "paused_reason": rule and rule.paused_reason,
            }
        )
    if as_json:
        typer.echo(json.dumps(facts, default=str))
        return
    head = ("QUEUE", "DUE", "LATER", "QUEUED", "RUNNING", "OLDEST", "PAUSED", "WHY")
    table(head, [_queue_columns(each) for each in facts])


@queues.command("pause")
def pause_queue(queue: Queue, reason: Why = _PAUSED, as_json: AsJson = False) -> None:
    """Send nothing to a queue until it is resumed; what was sent already still runs."""
    _pause("queue", queue.value, reason, as_json=as_json)


@queues.command("resume")
def resume_queue(queue: Queue, reason: Why = _RESUMED, as_json: AsJson = False) -> None:
    """Send to the queue again."""
    _resume("queue", queue.value, reason, as_json=as_json)


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
def pause_kind(kind: str, reason: Why = _PAUSED, as_json: AsJson = False) -> None:
    """Send no jobs of a kind until it is resumed."""
    _pause("kind", kind, reason, as_json=as_json)


@kinds.command("resume")
def resume_kind(kind: str, reason: Why = _RESUMED, as_json: AsJson = False) -> None:
    """Send the kind's jobs again; a kind that the code no longer has is taken off the list."""
    _resume("kind", kind, reason, as_json=as_json)


@kinds.command("limit")
def limit_kind(
    kind: str, at_once: AtOnce = None, reason: Why = BY_COMMAND, as_json: AsJson = False
) -> None:
    """Set how many jobs of a kind may be in flight at once, over all tenants; without a number the limit goes, also that
    of a kind that the code no longer has.
    """
    _limit("kind", kind, at_once, None, reason, as_json=as_json)


def pause_tenant(tenant: Tenant, reason: Why = _PAUSED, as_json: AsJson = False) -> None:
    """Send none of a tenant's jobs until it is resumed; they are accepted and wait."""
    _pause("tenant", _tenant_id(tenant), reason, as_json=as_json)


def resume_tenant(tenant: Tenant, reason: Why = _RESUMED, as_json: AsJson = False) -> None:
    """Send the tenant's jobs again."""
    _resume("tenant", _tenant_id(tenant), reason, as_json=as_json)


def share(
    tenant: Tenant,
    at_once: AtOnce = None,
    weight: Weight = None,
    reason: Why = BY_COMMAND,
    as_json: AsJson = False,
) -> None:
    """Set how many of a tenant's jobs may be in flight at once, and its weight; what isn't given goes back
    to the plan's.
    """
    _limit("tenant", _tenant_id(tenant), at_once, weight, reason, as_json=as_json)


def plan_share(
    plan: Annotated[str, typer.Argument(help="trial, active or expired.")],
    at_once: AtOnce = None,
    weight: Weight = None,
    reason: Why = BY_COMMAND,
    as_json: AsJson = False,
) -> None:
    """Set the same for each tenant on a plan that has none of its own."""
    from app.errors import Unprocessable

    if plan not in {"trial", "active", "expired"}:
        raise Unprocessable(f"There is no plan {plan!r}. Use trial, active or expired.")
    _limit("plan", plan, at_once, weight, reason, as_json=as_json)


def add_to(tenants: typer.Typer) -> None:
    """The commands about one tenant or plan, among the others about tenants."""
    tenants.command("pause")(pause_tenant)
    tenants.command("resume")(resume_tenant)
    tenants.command("share")(share)
    tenants.command("plan-share")(plan_share)


def _queue_columns(facts: Mapping[str, Any]) -> tuple[str, ...]:
    numbers = [f"{facts[name]:,}" for name in ("due", "later", "queued", "running")]
    since, why = when(facts["paused_at"]), facts["paused_reason"] or ""
    return (facts["queue"], *numbers, f"{facts['oldest_seconds']:,.0f} s", since, why)


def _pause(scope: str, name: str, reason: str, *, as_json: bool) -> None:
    from app.jobs import CATALOG
    from app.ledger.rules import Scope
    from app.operations.actor import Actor
    from app.operations.dispatch import pause

    with transaction() as tx:
        pause(tx, Actor.at_the_command_line(), CATALOG, Scope(scope), name, reason=reason)
    facts = {"scope": scope, "name": name, "paused": True, "reason": reason}
    answer(facts, f"{scope} {name} is paused", as_json=as_json)


def _resume(scope: str, name: str, reason: str, *, as_json: bool) -> None:
    from app.jobs import CATALOG
    from app.ledger.rules import Scope
    from app.operations.actor import Actor
    from app.operations.dispatch import resume

    with transaction() as tx:
        resume(tx, Actor.at_the_command_line(), CATALOG, Scope(scope), name, reason=reason)
    facts = {"scope": scope, "name": name, "paused": False}
    answer(facts, f"{scope} {name} is not paused", as_json=as_json)


def _limit(
    scope: str, name: str, at_once: int | None, weight: int | None, reason: str, *, as_json: bool
) -> None:
    from app.jobs import CATALOG
    from app.ledger.rules import Scope
    from app.operations.actor import Actor
    from app.operations.dispatch import limit as set_limit

    with transaction() as tx:
        actor, limits = Actor.at_the_command_line(), {"max_running": at_once, "weight": weight}
        set_limit(tx, actor, CATALOG, Scope(scope), name, **limits, reason=reason)
    limit = "any number" if at_once is None else str(at_once)
    facts = {"scope": scope, "name": name, "at_once": at_once, "weight": weight}
    line = f"{scope} {name}: {limit} at once, weight {weight or 'of its plan, or 1'}"
    answer(facts, line, as_json=as_json)


def _tenant_id(tenant: str) -> str:
    from app import keys as store

    with transaction() as tx:
        return str(store.find_tenant(tx, tenant))
