#!/usr/bin/env python3
"""Run docker-compose.yml for real, from an empty machine's point of view, and print a figure per step.

Builds the images, starts the stack in a project of its own on free ports of 127.0.0.1, imports CSV files
through the API, scales, replaces web, dispatcher and workers under load, takes it down and up again, and
removes everything. Exit status 1 when a row is lost or doubled, or a step fails or takes too long.

    infra/compose/smoke.py [--rows 20000] [--keep]

Needs Docker with Compose 2.26 or newer and Python 3.11; nothing else.
"""

import argparse
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PROJECT = "millrace-smoke"
TOTAL_SECONDS = 20 * 60
BAD_EVERY = 50
WEB_REPLICAS = 2
WORKERS = 3
Import = dict[str, Any]


class SmokeError(Exception):
    """What went wrong, in a sentence."""


def contacts_csv(name: str, rows: int) -> tuple[bytes, int]:
    """`rows` rows with addresses of their own, and how many of them are good; each 50th has no address."""
    lines = ["Email,First Name,Last Name,Company"]
    good = 0
    for number in range(rows):
        bad = number % BAD_EVERY == BAD_EVERY - 1
        good += not bad
        lines.append(f"{'' if bad else f'{name}.{number}@example.com'},Ada,Row {number},Grist Ltd.")
    return "\r\n".join([*lines, ""]).encode(), good


class Api:
    """The public API at several ports, used as a load balancer and a careful client use it.

    A call that gets no answer is repeated, at the next replica and with the same idempotency key.
    """

    def __init__(self, ports: list[int], key: str = "") -> None:
        self.ports = ports
        self.key = key
        self.retries = 0

    def get(self, path: str) -> bytes:
        return self._call("GET", path, b"", {})

    def upload(self, name: str, body: bytes) -> Import:
        headers = {"Content-Type": "text/csv", "Idempotency-Key": str(uuid.uuid4())}
        answer: Import = json.loads(
            self._call("POST", f"/v1/imports?filename={name}.csv", body, headers)
        )
        return answer

    def finished(self, import_id: str, *, seconds: float) -> Import:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            state: Import = json.loads(self.get(f"/v1/imports/{import_id}"))
            if state["status"] in {"succeeded", "failed", "cancelled"}:
                return state
            time.sleep(0.3)
        raise SmokeError(f"import {import_id} did not end within {seconds:.0f} s: {state}")

    def _call(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        deadline = time.monotonic() + 90
        turn = 0
        while True:
            port = self.ports[turn % len(self.ports)]
            turn += 1
            try:
                return self._once(port, method, path, body, headers)
            except (OSError, http.client.HTTPException) as error:
                self.retries += 1
                if time.monotonic() > deadline:
                    raise SmokeError(f"{method} {path} got no answer: {error!r}") from error
                time.sleep(0.1)

    def _once(
        self, port: int, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            sent = {**headers, "Authorization": f"Bearer {self.key}"}
            connection.request(method, path, body or None, sent)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status in {409, 429, 502, 503, 504}:  # 409: the first try is still at it
            raise ConnectionError(f"{answer.status}")
        if answer.status >= http.client.BAD_REQUEST:
            raise SmokeError(f"{method} {path}: {answer.status} {content[:300]!r}")
        return content


class Stack:
    """`docker compose` in a project of its own, with settings of its own."""

    def __init__(self, env_file: Path, ports: dict[str, str]) -> None:
        self.env = {
            **os.environ,
            **ports,
            "COMPOSE_PROJECT_NAME": PROJECT,
            "COMPOSE_ENV_FILES": str(env_file),
            "PUBLISH_ADDRESS": "127.0.0.1",
        }

    def compose(self, *words: str, seconds: float = 120) -> str:
        return self.run("docker", "compose", *words, seconds=seconds)

    def run(self, *words: str, seconds: float) -> str:
        try:
            done = subprocess.run(
                words, cwd=ROOT, env=self.env, timeout=seconds, check=True,
                capture_output=True, text=True,
            )  # fmt: skip
        except subprocess.CalledProcessError as error:
            tail = (error.stderr or error.stdout)[-2000:]
            raise SmokeError(f"{' '.join(words)}: exit status {error.returncode}\n{tail}") from None
        except subprocess.TimeoutExpired:
            raise SmokeError(f"{' '.join(words)} took more than {seconds:.0f} s") from None
        return done.stdout

    def up(self, *words: str) -> None:
        self.compose(
            "up", "--detach", "--no-build", "--wait", "--wait-timeout", "240", *words, seconds=300
        )

    def sql(self, query: str) -> int:
        words = ("psql", "--username=millrace", "--tuples-only", "--no-align", "--command", query)
        return int(self.compose("exec", "-T", "postgres", *words))


class Load:
    """Threads that upload files one after the other, and all that was accepted."""

    def __init__(self, api: Api, *, threads: int, rows: int) -> None:
        self._api, self._rows = api, rows
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._work, args=(i,)) for i in range(threads)]
        self.accepted: dict[str, int] = {}
        self.errors: list[str] = []
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=120)

    def _work(self, which: int) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            body, good = contacts_csv(f"load{which}x{number}", self._rows)
            try:
                accepted = self._api.upload(f"load-{which}-{number}", body)
            except SmokeError as error:
                self.errors.append(str(error))
                return
            with self._lock:
                self.accepted[accepted["id"]] = good
            self._stop.wait(1.0)


class Smoke:
    """The steps, in order."""

    def __init__(self, stack: Stack, api: Api, *, rows: int) -> None:
        self.stack, self.api, self.rows = stack, api, rows
        self.contacts = 0
        self.imports = 0

    def run(self) -> None:
        step("build", lambda: self.stack.compose("build", seconds=900) and self._sizes())
        step("up until all is healthy", self._up)
        step("tenant and key", self._key)
        step("login and locked pages", self._pages)
        step("import", self._import)
        step(f"scale worker-default to {WORKERS}, web to {WEB_REPLICAS}", self._scale)
        step("replace web, dispatcher and workers under load", self._roll)
        step("down, and up with the data", self._down_up)

    def _sizes(self) -> str:
        names = ("millrace-web", "millrace-worker", "millrace-flower")
        words = ("docker", "image", "inspect", "--format", "{{.Size}}")
        sizes = [int(self.stack.run(*words, name, seconds=30)) / 1e6 for name in names]
        return ", ".join(f"{n} {s:.0f} MB" for n, s in zip(names, sizes, strict=True))

    def _up(self) -> str:
        self.stack.up()
        states = self.stack.compose("ps", "--all", "--format", "{{.Service}} {{.Health}}{{.State}}")
        running = [line for line in states.splitlines() if line.endswith("healthyrunning")]
        return (
            f"{len(running)} healthy, {len(states.splitlines()) - len(running)} set-up steps done"
        )

    def _key(self) -> str:
        words = ("exec", "-T", "web", "millrace")
        self.stack.compose(*words, "tenants", "create", "smoke", "--email", "ops@example.com")
        made = json.loads(self.stack.compose(*words, "keys", "create", "smoke", "--json"))
        self.api.key = made["key"]
        return "made"

    def _pages(self) -> str:
        found = []
        for name, variable, path in (
            ("flower", "FLOWER_PORT", "/flower/workers"),
            ("rabbitmq", "RABBITMQ_PORT", "/api/overview"),
        ):
            connection = http.client.HTTPConnection(
                "127.0.0.1", int(self.stack.env[variable]), timeout=20
            )
            connection.request("GET", path)
            status = connection.getresponse().status
            connection.close()
            if status != http.client.UNAUTHORIZED:
                raise SmokeError(f"{name} answers {status} without a password")
            found.append(f"{name} refuses strangers")
        return ", ".join(found)

    def _import(self) -> str:
        body, good = contacts_csv("first", self.rows)
        began = time.monotonic()
        accepted = self.api.upload("first", body)
        done = self._checked(self.api.finished(accepted["id"], seconds=120), good)
        seconds = time.monotonic() - began
        lines = len(self.api.get(f"/v1/imports/{accepted['id']}/rejected.csv").splitlines())
        if lines != self.rows - good + 1:
            raise SmokeError(f"rejected.csv has {lines} lines")
        self._count(good, 1)
        return f"{self.rows} rows in {seconds:.1f} s: {done['counts']}"

    def _scale(self) -> str:
        self.stack.up(
            "--no-recreate",
            "--scale",
            f"worker-default={WORKERS}",
            "--scale",
            f"web={WEB_REPLICAS}",
        )
        workers, web = (
            len(self.stack.compose("ps", "--quiet", name).split())
            for name in ("worker-default", "web")
        )
        body, good = contacts_csv("scaled", self.rows)
        accepted = self.api.upload("scaled", body)
        self._checked(self.api.finished(accepted["id"], seconds=120), good)
        self._count(good, 1)
        return f"{workers} workers, {web} web, another {self.rows} rows imported"

    def _roll(self) -> str:
        self.api.retries = 0
        load = Load(self.api, threads=3, rows=2000)
        try:
            time.sleep(2)
            services = ("web", "worker-default", "dispatcher", "worker-high")
            said = self.stack.run(str(HERE / "roll.sh"), *services, seconds=400)
        finally:
            load.stop()
        if load.errors:
            raise SmokeError(f"refused: {load.errors}")
        print(indent(said))
        if said.count("(exit code 0)") != said.count("(exit code "):
            raise SmokeError("a process did not end by itself within its grace period")
        for import_id, good in load.accepted.items():
            self._checked(self.api.finished(import_id, seconds=180), good)
        self._count(sum(load.accepted.values()), len(load.accepted))
        retries = self.stack.sql("SELECT count(*) FROM jobs WHERE attempt > 1")
        return (
            f"{len(load.accepted)} imports accepted and exact, {self.api.retries} calls repeated by "
            f"clients, {retries} jobs took more than one attempt"
        )

    def _down_up(self) -> str:
        """Also leaves a message in the broker and a file in the store over the break."""
        self.stack.compose("stop", "worker-default")
        body, good = contacts_csv("overnight", self.rows)
        accepted = self.api.upload("overnight", body)
        time.sleep(3)
        began = time.monotonic()
        self.stack.compose("down", seconds=180)
        down = time.monotonic() - began
        self.stack.up()
        up = time.monotonic() - began - down
        self._checked(self.api.finished(accepted["id"], seconds=120), good)
        self._count(good, 1)
        return f"down {down:.0f} s, healthy again {up:.0f} s; {self.contacts} contacts, {self.imports} imports"

    def _checked(self, state: Import, good: int) -> Import:
        counts = state["counts"]
        if state["status"] != "succeeded" or counts["inserted"] != good:
            raise SmokeError(f"expected {good} new contacts: {state}")
        return state

    def _count(self, contacts: int, imports: int) -> None:
        """The database has what was accepted, no row less and none more."""
        self.contacts += contacts
        self.imports += imports
        found = (
            self.stack.sql("SELECT count(*) FROM contacts"),
            self.stack.sql("SELECT count(*) FROM imports"),
        )
        if found != (self.contacts, self.imports):
            expected = f"{self.contacts} contacts in {self.imports} imports"
            raise SmokeError(f"expected {expected}, the database has {found[0]} in {found[1]}")


def step(name: str, do: Callable[[], str]) -> None:
    """Do it and print what came of it."""
    began = time.monotonic()
    said = do()
    print(f"{name}: {time.monotonic() - began:.1f} s; {said}", flush=True)


def indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines())


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that nothing listens on."""
    for first in range(18000, 30000, 16):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    server = stack.enter_context(socket.socket())
                    server.bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise SmokeError("no free ports")


@contextlib.contextmanager
def bounded(seconds: int) -> Iterator[None]:
    """Raise SmokeError in the main thread after `seconds`."""

    def late(_signal: int, _frame: FrameType | None) -> None:
        raise SmokeError(f"not done within {seconds} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000, help="rows of each of the big files")
    parser.add_argument("--keep", action="store_true", help="leave the stack running")
    options = parser.parse_args()
    first = free_ports(WEB_REPLICAS + 3)
    web = list(range(first, first + WEB_REPLICAS))
    ports = {
        "WEB_PORT": f"{web[0]}-{web[-1]}",
        "FLOWER_PORT": str(web[-1] + 1),
        "RABBITMQ_PORT": str(web[-1] + 2),
        "MAIL_PORT": str(web[-1] + 3),
    }
    with tempfile.TemporaryDirectory() as folder:
        env_file = Path(folder) / "env"
        subprocess.run([HERE / "make-env.sh", env_file], check=True, stdout=subprocess.DEVNULL)
        stack = Stack(env_file, ports)
        began = time.monotonic()
        try:
            with bounded(TOTAL_SECONDS):
                Smoke(stack, Api(web), rows=options.rows).run()
        except (SmokeError, KeyboardInterrupt) as error:
            print(f"FAILED: {error or 'interrupted'}", file=sys.stderr)
            with contextlib.suppress(SmokeError):
                print(
                    stack.compose("ps", "--all"),
                    stack.compose("logs", "--tail=15", "--no-color", "--no-log-prefix"),
                )
            return 1
        finally:
            if not options.keep:
                step(
                    "down -v", lambda: stack.compose("down", "--volumes", seconds=240) or "removed"
                )
        print(f"passed in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
