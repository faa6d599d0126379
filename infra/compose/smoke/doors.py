"""What the proxy lets through, to whom; and that nothing of ours shows itself to strangers."""

import http.client
import urllib.parse

from infra.compose.smoke.errors import check
from infra.compose.smoke.stack import Stack
from infra.compose.smoke.web import Answer, ask

STRANGERS = {
    "/healthz": 200,
    "/readyz": 200,
    "/docs": 200,
    "/openapi.json": 200,
    "/v1/contacts": 401,
    "/console": 303,
    "/console/overview": 303,
    "/console/sign-in": 200,
    "/flower": 302,
    "/flower/": 401,
    "/flower/workers": 401,
    "/flower/api/workers": 401,
    # These ask nobody for a password, and so stay inside.
    "/metrics": 404,
    "/flower/metrics": 404,
    "/flower/healthcheck": 404,
    # The store, without a signed link.
    "/millrace/": 404,
    "/millrace/anything": 404,
}
"""What somebody without a login gets at the proxy."""


def refuses_strangers(stack: Stack) -> str:
    """Raises SmokeError for a door that is open, or closed, and should be the other."""
    found = {path: ask(stack.port("PROXY"), path).status for path in STRANGERS}
    wrong = {path: status for path, status in found.items() if status != STRANGERS[path]}
    check(not wrong, f"the proxy answers {wrong}")
    for page, path in (("FLOWER", "/flower/workers"), ("RABBITMQ", "/api/overview")):
        status = ask(stack.port(page), path).status
        check(status == http.client.UNAUTHORIZED, f"{page} answers {status} without a password")
    return f"{len(STRANGERS)} doors of the proxy, Flower's and RabbitMQ's own"


def operator_signs_in(stack: Stack, key: str) -> str:
    """At the console, through the proxy; the caller's address is not the proxy's."""
    refused = _sign_in(stack, "not a key")
    check(refused.status == http.client.UNAUTHORIZED, f"a wrong key: {refused.status}")
    let_in = _sign_in(stack, key)
    check(let_in.status == http.client.SEE_OTHER, f"the operator's key: {let_in.status}")
    cookie = let_in.headers["set-cookie"].partition(";")[0]
    pages = (
        "overview",
        "jobs",
        "incidents",
        "dispatch",
        "schedules",
        "import-log",
        "mail-log",
        "webhooks",
    )
    for name in pages:
        page = ask(stack.port("PROXY"), f"/console/{name}", headers={"Cookie": cookie})
        check(page.status == http.client.OK, f"/console/{name} answers {page.status}")
    (proxy,) = stack.containers("proxy")
    (network,) = proxy["NetworkSettings"]["Networks"].values()
    wrong = stack.sql("SELECT DISTINCT address FROM sign_in_failures")
    check(
        wrong and network["IPAddress"] not in wrong,
        f"a wrong key is counted against {wrong}, which is the proxy, and so everybody",
    )
    return f"the operator is in, {len(pages)} pages"


def flower_only_looks(stack: Stack) -> dict[str, list[str]]:
    """The workers that Flower knows, with their queues. Every control is refused, also with its login."""
    port, login = stack.port("PROXY"), _flower_login(stack)
    workers = ask(port, "/flower/api/workers?refresh=1", login=login)
    check(workers.status == http.client.OK, f"Flower with its login: {workers.status}")
    queues = {
        name: [queue["name"] for queue in facts.get("active_queues") or []]
        for name, facts in workers.json().items()
    }
    for control in (f"worker/shutdown/{name}" for name in queues):
        status = ask(port, f"/flower/api/{control}", method="POST", login=login).status
        check(status == http.client.FORBIDDEN, f"Flower's {control} answers {status}")
    return queues


def kinds_in_flower(stack: Stack) -> set[str]:
    """Of the tasks that it has seen."""
    answer = ask(stack.port("PROXY"), "/flower/api/tasks?limit=500", login=_flower_login(stack))
    check(answer.status == http.client.OK, f"Flower's tasks: {answer.status}")
    return {str(task["name"]) for task in answer.json().values()}


def _flower_login(stack: Stack) -> str:
    return f"admin:{stack.secrets['FLOWER_PASSWORD']}"


def _sign_in(stack: Stack, key: str) -> Answer:
    form = urllib.parse.urlencode({"key": key}).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return ask(stack.port("PROXY"), "/console/session", method="POST", headers=headers, body=form)
