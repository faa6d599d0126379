"""What those who look after the system see of it: Prometheus, the doctor, the logs, the mails."""

import http.client
import json
import re
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from infra.compose.smoke.errors import SmokeError, check
from infra.compose.smoke.stack import OURS, PRODUCT, WORKERS, Stack, service_of
from infra.compose.smoke.web import ask

Found = TypeVar("Found")

ON_THIS_MACHINE = {"settings.public_url"}
"""What the doctor finds wrong where links lead to 127.0.0.1."""
NO_SWAP_TO_LIMIT = -1
"""What the engine keeps of a limit on swap where the kernel has none to set."""
PLUGIN_TYPE = "x-consistent-hash"
CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
"""What a terminal doesn't show."""
PROBE = """
import json, os
facts = dict(line.split(":", 1) for line in open("/proc/1/status") if ":" in line)
try:
    open("/probe", "w")
    wrote = True
except OSError:
    wrote = False
print(json.dumps({"uid": os.getuid(), "capabilities": int(facts["CapEff"], 16) | int(facts["CapBnd"], 16),
                  "may_gain": facts["NoNewPrivs"].strip() != "1", "wrote": wrote}))
"""


def soon(look: Callable[[], Found | None], *, seconds: float, what: str) -> Found:
    """What `look` finds, as soon as it finds something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.5)
    raise SmokeError(f"{what}: not within {seconds:.0f} s")


def doctor_is_content(stack: Stack) -> str:
    """Every server is reached, and nothing failed but what is the matter on a machine for trying out."""
    try:
        said = stack.inside("web", "millrace", "doctor", "--write", "--json")
    except SmokeError:  # its exit status tells of the failures that are sorted below
        words = "millrace doctor --write --json || true"
        said = stack.inside("web", "sh", "-c", words)
    checks = json.loads(said)["checks"]
    failed = [each for each in checks if each["status"] == "failed"]
    unexpected = [each for each in failed if each["check"] not in ON_THIS_MACHINE]
    check(not unexpected, f"the doctor says: {unexpected}")
    reached = {each["check"] for each in checks if each["status"] == "ok"}
    wanted = {f"{server}.reach" for server in ("postgresql", "rabbitmq", "s3", "smtp")}
    check(wanted <= reached, f"the doctor didn't reach {wanted - reached}")
    warned = sorted({each["check"] for each in checks if each["status"] == "warning"})
    return f"{len(checks)} checks; warnings: {', '.join(warned) or 'none'}"


def confined(stack: Stack) -> str:
    """Each of ours is nobody, may do nothing, and can write nowhere but in its own places."""
    for service in OURS:
        facts = json.loads(stack.inside(service, "python", "-I", "-S", "-c", PROBE))
        wanted = {"uid": 10001, "capabilities": 0, "may_gain": False, "wrote": False}
        check(facts == wanted, f"{service}: {facts}")
    return f"{len(OURS)} services: user 10001, no capabilities, a root that is read-only"


def limited(stack: Stack) -> str:
    """Each container's memory ends without swap, and it has less than half of the processes that it may have."""
    used = stack.processes()
    most = 0.0
    for container in stack.containers(*stack.running()):
        service, host = service_of(container["Config"]["Labels"]), container["HostConfig"]
        memory, swap = host["Memory"], host["MemorySwap"]
        check(memory > 0 and swap in {memory, NO_SWAP_TO_LIMIT}, f"{service}: {memory}, {swap}")
        limit = host["PidsLimit"] or 0
        share = used[container["Id"]] / limit if limit > 0 else 1
        check(share < 1 / 2, f"{service} has {used[container['Id']]} processes of {limit}")
        most = max(most, share)
    return f"{len(used)} containers, no swap; of its processes none has more than {most:.0%}"


def broker_has_the_plugin(stack: Stack) -> str:
    """Affinity's, for whoever switches it on."""
    login = f"millrace:{stack.secrets['RABBITMQ_PASSWORD']}"
    answer = ask(stack.port("RABBITMQ"), "/api/overview", login=login)
    check(answer.status == http.client.OK, f"RabbitMQ's pages answer {answer.status}")
    facts = answer.json()
    types = sorted(each["name"] for each in facts["exchange_types"])
    check(PLUGIN_TYPE in types, f"the broker's exchanges: {types}")
    return f"RabbitMQ {facts['rabbitmq_version']} has exchanges of type {PLUGIN_TYPE}"


def prometheus_sees_all(stack: Stack) -> str:
    """A target for each container of ours and the broker's two, all up; each rule evaluated without an error."""
    running = len(stack.compose("ps", "--quiet", *PRODUCT).split())
    targets = soon(
        lambda: _all_up(stack, running + 2), seconds=90, what=f"{running + 2} targets that are up"
    )
    rules = soon(lambda: _evaluated(stack), seconds=90, what="rules that were evaluated")
    firing = [each for each in _asked(stack, "alerts")["alerts"] if each["state"] == "firing"]
    check(not firing, f"alerts fire: {[each['labels'] for each in firing]}")
    told = _asked(stack, "alertmanagers")["activeAlertmanagers"]
    check(len(told) == 1, f"Alertmanagers: {told}")
    by_job = ", ".join(f"{job} {count}" for job, count in sorted(targets.items()))
    return f"targets up: {by_job}; {rules} rules, no alert fires"


def mails_to(stack: Stack, address: str, *, subject: str) -> int:
    """How many mails with `subject` in their subject Mailpit has for `address`."""
    query = urllib.parse.urlencode({"query": f'to:"{address}"', "limit": 200})
    answer = ask(stack.port("MAIL"), f"/api/v1/search?{query}")
    check(answer.status == http.client.OK, f"Mailpit answers {answer.status}")
    return sum(subject in mail["Subject"] for mail in answer.json()["messages"])


def logs_are_quiet(stack: Stack, secrets: Iterable[str]) -> str:
    """No line of ours at level error or above, no traceback, and no secret in anybody's."""
    logs = CONTROL.sub("", stack.compose("logs", "--no-color", seconds=60))
    found = [name for name in secrets if name in logs]
    check(not found, f"{len(found)} secrets are in the logs")
    levels: Counter[str] = Counter()
    for line in logs.splitlines():
        container, _, text = line.partition("|")
        if not container.startswith(PRODUCT):
            continue
        level = _level(text)
        levels[level] += 1
        check(level not in {"error", "critical"}, line)
        check("Traceback" not in text, line)
    return ", ".join(f"{level} {count}" for level, count in sorted(levels.items()))


def workers_by_queue(queues: dict[str, list[str]]) -> Counter[str]:
    """How many workers of Flower's serve each queue, and none more than its own."""
    for name, served in queues.items():
        check(served == [name.partition("@")[0]], f"{name} serves {served}")
    return Counter(served[0] for served in queues.values())


def every_pool_once() -> Counter[str]:
    return Counter(name.removeprefix("worker-") for name in WORKERS)


def _all_up(stack: Stack, wanted: int) -> Counter[str] | None:
    targets = _asked(stack, "targets")["activeTargets"]
    if len(targets) != wanted or any(each["health"] != "up" for each in targets):
        return None
    return Counter(each["labels"]["job"] for each in targets)


def _evaluated(stack: Stack) -> int | None:
    rules = [rule for group in _asked(stack, "rules")["groups"] for rule in group["rules"]]
    broken = [rule["name"] for rule in rules if rule["health"] == "err"]
    check(not broken, f"rules that fail: {broken}")
    return len(rules) if rules and all(rule["health"] == "ok" for rule in rules) else None


def _asked(stack: Stack, what: str) -> dict[str, Any]:
    answer = ask(stack.port("PROMETHEUS"), f"/api/v1/{what}")
    check(answer.status == http.client.OK, f"Prometheus answers {answer.status}")
    data: dict[str, Any] = answer.json()["data"]
    return data


def _level(text: str) -> str:
    found = re.search(r'"level": ?"(\w+)"', text)
    return found[1] if found else "none"
