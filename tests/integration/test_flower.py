"""Flower as its image runs it, behind the stack's proxy, beside a worker of ours."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.connections import FLOWER
from infra.local import Program
from infra.local.layout import ROOT
from infra.local.ports import LOOPBACK, accepts, choose_ports
from tests.support.fleet import Fleet, fleet_on
from tests.support.proxy import find_caddy, proxy
from tests.support.servers import Servers, wait_for
from tests.support.web import web_server
from tests.support.worker_jobs import Tally

LOGIN = ("admin", "s3cret")
WORKER = "worker@flower-test"
CONTROLS = (
    f"worker/shutdown/{WORKER}",
    f"worker/pool/restart/{WORKER}",
    f"worker/pool/grow/{WORKER}",
    f"worker/pool/shrink/{WORKER}",
    f"worker/pool/autoscale/{WORKER}?min=1&max=9",
    f"worker/queue/add-consumer/{WORKER}?queue=high",
    f"worker/queue/cancel-consumer/{WORKER}?queue=default",
    "task/apply/test.tally",
    "task/async-apply/test.tally",
    "task/send-task/test.tally",
    "task/abort/0190a000-0000-7000-8000-000000000000",
    f"task/timeout/test.tally?workername={WORKER}&hard=1",
    f"task/rate-limit/test.tally?workername={WORKER}&ratelimit=1",
    "task/revoke/0190a000-0000-7000-8000-000000000000?terminate=true",
)
"""Every control of Flower's API."""


@pytest.fixture(scope="module")
def caddy() -> Path:
    return find_caddy()


@pytest.fixture(scope="module")
def fleet(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet_on(servers, tmp_path_factory.mktemp("flower")) as made:
        yield made


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    folder = tmp_path_factory.mktemp("ports")
    return choose_ports(["flower", "proxy"], folder / "ports.json", seed=str(folder))


def flower(fleet: Fleet, port: int) -> Program:
    """With the options of the image."""
    line = re.search(
        r'^CMD (\["celery", "flower".*\])$', (ROOT / "Dockerfile.worker").read_text(), re.MULTILINE
    )
    assert line
    given = {"--address": LOOPBACK, "--port": str(port), "--db": str(fleet.folder / "flower.db")}
    words = [word.partition("=") for word in json.loads(line[1])[2:]]
    options = [f"{name}={given.get(name, value)}" for name, _, value in words]
    return Program(
        name="flower",
        command=[sys.executable, "-m", "celery", "flower", *options],
        environment={
            "CELERY_BROKER_URL": fleet.environment["MILLRACE_BROKER_URL"],
            "FLOWER_BASIC_AUTH": ":".join(LOGIN),
        },
        ready=lambda: accepts(port),
    )


@contextmanager
def proxied(
    caddy: Path, fleet: Fleet, ports: dict[str, int], web_port: int
) -> Iterator[httpx.Client]:
    """A client of the proxy, which runs on the stack's own Caddyfile."""
    fleet.start(proxy(caddy, fleet.folder, ports["proxy"], web=web_port, flower=ports["flower"]))
    url = f"http://{LOOPBACK}:{ports['proxy']}"
    with httpx.Client(base_url=url, timeout=20, trust_env=False) as client:
        yield client


def test_behind_the_proxy_with_a_login_it_shows_our_names_remembers_and_changes_nothing(
    caddy: Path, fleet: Fleet, ports: dict[str, int]
) -> None:
    fleet.start(flower(fleet, ports["flower"]))
    worker = fleet.product().worker("worker-flower", "default", 1)
    fleet.start(worker)
    fleet.start_dispatcher()
    with web_server(fleet.settings) as web, proxied(caddy, fleet, ports, web.port) as client:
        assert client.get("/healthz").status_code == 200  # the API, by the same door
        refuses_strangers(client)
        log = fleet.processes.log
        wait_for(lambda: "enabled by remote" in log("worker-flower"), what="Flower's wish")
        ids = fleet.enqueue([Tally() for _ in range(3)])
        fleet.wait_until("succeeded", ids)
        wait_for(lambda: len(kinds(client)) == 3, what="the jobs, in Flower")
        assert kinds(client) == ["test.tally"] * 3
        seen = workers(client)
        assert [name.partition("@")[0] for name in seen] == ["flower"]
        (facts,) = seen.values()
        assert [queue["name"] for queue in facts["active_queues"]] == ["default"]
        changes_nothing(client, next(iter(seen)))
        assert workers(client).keys() == seen.keys()

        with_flower = connections(fleet)
        fleet.stop("flower")
        wait_for(lambda: connections(fleet) < with_flower, what="the end of its connections")
        assert with_flower - connections(fleet) <= FLOWER.rabbitmq
        fleet.start(flower(fleet, ports["flower"]))
        assert kinds(client) == ["test.tally"] * 3


def connections(fleet: Fleet) -> int:
    """Of everybody, to the broker."""
    listed = fleet.servers.rabbitmqctl("list_connections", "--no-table-headers", "pid")
    return len(listed.splitlines())


def refuses_strangers(client: httpx.Client) -> None:
    for path in ("/flower/", "/flower/workers", "/flower/tasks", "/flower/api/workers"):
        assert client.get(path).status_code == 401, path
        assert client.get(path, auth=("admin", "wrong")).status_code == 401, path
    assert client.get("/flower").headers["location"] == "/flower/"
    assert client.get("/flower/workers", auth=LOGIN).status_code == 200
    # What asks for no password is not for those outside.
    for path in ("/metrics", "/flower/metrics", "/flower/healthcheck"):
        assert client.get(path, auth=LOGIN).status_code == 404, path


def changes_nothing(client: httpx.Client, worker: str) -> None:
    for control in CONTROLS:
        path = f"/flower/api/{control.replace(WORKER, worker)}"
        answer = client.post(path, auth=LOGIN, json={"args": []})
        assert answer.status_code == 403, (path, answer.status_code, answer.text)
    page = client.get(f"/flower/worker/{worker}", auth=LOGIN).text
    assert "Shut Down" not in page
    assert "Grow" not in page


def kinds(client: httpx.Client) -> list[str]:
    tasks = client.get("/flower/api/tasks", auth=LOGIN).raise_for_status().json()
    return [task["name"] for task in tasks.values()]


def workers(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = (
        client.get("/flower/api/workers?refresh=1", auth=LOGIN).raise_for_status().json()
    )
    return found
