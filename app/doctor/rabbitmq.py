"""RabbitMQ: version, topology, rights, alarms, and what only its management API knows."""

from collections.abc import Iterator

import httpx

from app.broker.affinity import PLUGIN, Affinity
from app.broker.inspection import Difference, Inspection, Trouble
from app.broker.management import Management
from app.broker.topology import QUEUES, definitions
from app.doctor.findings import Finding, failed, ok, warning
from app.errors import BrokerAway
from app.jobs import CATALOG
from app.ledger.affinity import affinity_of
from app.server_limits import over_rabbitmq, plan_of, words_of
from app.settings import Settings

OLDEST = (3, 10)
FEW_CHANNELS = 16
_DECLARE = "Run `millrace topology declare`, or start a dispatcher."
_PLUGIN = (
    f"Enable the broker's plugin (rabbitmq-plugins enable {PLUGIN}), then restart the dispatchers."
)
_AGAIN = (
    "Arguments can't be changed: pause the queue (`millrace queues pause`), let its workers empty it, delete it "
    "with rabbitmqctl delete_queue, then `millrace topology declare`. The ledger keeps the jobs meanwhile."
)
_RIGHTS = "rabbitmqctl set_permissions -p VHOST USER '.*' '.*' '.*'"


def rabbitmq(settings: Settings) -> Iterator[Finding]:
    """Over AMQP, and then over HTTP."""
    try:
        inspection = Inspection(settings)
    except BrokerAway as away:
        yield _away(str(away))
        return
    try:
        yield ok("rabbitmq.reach", "connected")
        yield from _server(inspection)
        affinity = affinity_of(settings, CATALOG)
        differences = list(inspection.differences(affinity))
        yield from _topology(differences, affinity)
        refused = inspection.refused_to_publish()
        yield from _rights(differences, refused)
        yield _alarm(inspection.alarm())
    except BrokerAway as away:
        yield failed(
            "rabbitmq.reach", f"the connection was lost: {away}", "Look at the broker's log."
        )
    finally:
        inspection.close()
    yield from managed(settings)


def _away(said: str) -> Finding:
    change = "Start RabbitMQ, or set MILLRACE_BROKER_URL right."
    if "ACCESS_REFUSED" in said or "AccessRefused" in said:
        change = "Set the user and password in MILLRACE_BROKER_URL right."
    elif "limit" in said:
        change = (
            "Raise the limit on connections of the user or virtual host, or have fewer processes."
        )
    elif "NOT_ALLOWED" in said or "vhost" in said:
        change = f"Make the virtual host, and let our user in: rabbitmqctl add_vhost; {_RIGHTS}"
    return failed("rabbitmq.reach", said, change)


def _server(inspection: Inspection) -> Iterator[Finding]:
    server = inspection.server()
    found = f"{server.product} {'.'.join(str(number) for number in server.version)}"
    if server.version < OLDEST:
        yield failed("rabbitmq.version", found, "Upgrade to RabbitMQ 3.10 or newer, best to 4.")
    else:
        yield ok("rabbitmq.version", found)
    if 0 < server.channels < FEW_CHANNELS:
        found = f"a connection may have {server.channels} channels"
        yield warning(
            "rabbitmq.channels", found, "Set channel_max to 128 or so; workers need several."
        )


def _topology(differences: list[Difference], affinity: Affinity) -> Iterator[Finding]:
    found = [each for each in differences if each.trouble is not Trouble.REFUSED]
    for each in found:
        if each.name in affinity.exchanges:
            yield failed(
                "rabbitmq.topology", f"{each.name} isn't there {each.said}".rstrip(), _PLUGIN
            )
        elif each.trouble is Trouble.MISSING:
            yield failed("rabbitmq.topology", f"{each.name} isn't there", _DECLARE)
        else:
            yield failed("rabbitmq.topology", f"{each.name}: {each.said}", _AGAIN)
    if not found:
        queues = len(QUEUES) + len(affinity.queues)
        yield ok("rabbitmq.topology", f"all {queues} queues and their exchanges as declared")


def _rights(differences: list[Difference], refused: str) -> Iterator[Finding]:
    said = [f"declaring: {each.said}" for each in differences if each.trouble is Trouble.REFUSED]
    if refused:
        said.append(f"publishing: {refused}")
    for line in said:
        yield failed(
            "rabbitmq.rights", line, f"Give our user all of its own virtual host: {_RIGHTS}"
        )
    if not said:
        yield ok("rabbitmq.rights", "may declare, bind and publish")


def _alarm(reason: str) -> Finding:
    if reason:
        change = "Free disk or memory on the broker, or raise disk_free_limit or vm_memory_high_watermark."
        return failed("rabbitmq.alarms", f"it takes no messages: {reason}", change)
    return ok("rabbitmq.alarms", "none: it takes messages")


def managed(settings: Settings) -> Iterator[Finding]:
    """What the management API says, where its address is set."""
    if settings.broker_management_url is None:
        hint = "Set MILLRACE_BROKER_MANAGEMENT_URL to have policies, bindings and limits looked at."
        yield ok("rabbitmq.management", "not asked", hint=hint)
        return
    try:
        yield from _of_management(settings, Management(settings))
    except httpx.HTTPError as error:
        status = (
            f" {error.response.status_code}" if isinstance(error, httpx.HTTPStatusError) else ""
        )
        change = "Set MILLRACE_BROKER_MANAGEMENT_URL right; its user needs the tag policymaker or administrator."
        yield warning(
            "rabbitmq.management", f"it can't be asked: {type(error).__name__}{status}", change
        )


def _of_management(settings: Settings, management: Management) -> Iterator[Finding]:
    wrong = _policies(management)
    if wrong:
        change = "Import infra/rabbitmq/definitions.json (rabbitmqctl import_definitions)."
        yield warning("rabbitmq.policies", "; ".join(wrong), change)
    else:
        yield ok("rabbitmq.policies", "delivery limits and lengths are set")
    queues = (*QUEUES, *affinity_of(settings, CATALOG).queues)
    wanted_bindings = {(each.exchange, each.name, each.routing_key) for each in queues}
    missing = wanted_bindings - management.bindings()
    if missing:
        names = ", ".join(sorted(queue for _, queue, _ in missing))
        yield failed("rabbitmq.bindings", f"not bound: {names}", _DECLARE)
    else:
        yield ok("rabbitmq.bindings", "every queue is bound")
    limit = management.connection_limit()
    over = over_rabbitmq(settings, limit)
    if over:
        yield failed("rabbitmq.connections", over.found, over.change)
    else:
        plan = plan_of(settings)
        wanted = sum(line.rabbitmq for line in plan)
        most = "no limit" if limit is None else f"a limit of {limit}"
        yield ok(
            "rabbitmq.connections", f"up to {wanted}, with {most} ({words_of(plan, 'rabbitmq')})"
        )


def _policies(management: Management) -> list[str]:
    there = management.policies()
    wrong = []
    for policy in definitions()["policies"]:
        name = policy["name"]
        if name not in there:
            wrong.append(f"{name} isn't there")
        elif there[name]["pattern"] != policy["pattern"]:
            wrong.append(f"{name} is for {there[name]['pattern']}")
        else:
            lacking = policy["definition"].keys() - there[name]["definition"].keys()
            wrong += [f"{name} has no {key}" for key in sorted(lacking)]
    return wrong
