"""The steps, in order; each prints what came of it, and fails with a sentence."""

import hashlib
import http.client
import json
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path

from infra.compose.smoke import doors, watch
from infra.compose.smoke.client import Client, Import, Load, contacts_csv
from infra.compose.smoke.errors import check
from infra.compose.smoke.stack import (
    OURS,
    WEB_REPLICAS,
    WORKER_REPLICAS,
    Stack,
    in_words,
    replicas_of,
)
from infra.compose.smoke.web import Door, ask

ROLL = Path(__file__).resolve().parents[1] / "roll.sh"
IMAGES = ("millrace-web", "millrace-worker", "millrace-flower")
OWNER = "ops@example.com"
KILLED = 137
SCALED = {"worker-default": WORKER_REPLICAS, "web": WEB_REPLICAS}


def step(name: str, do: Callable[[], str]) -> None:
    """Do it and print what came of it."""
    began = time.monotonic()
    said = do()
    print(f"{name}: {time.monotonic() - began:.1f} s; {said}", flush=True)


class Smoke:
    """One stack, from its build to the last figure."""

    def __init__(self, stack: Stack, *, rows: int) -> None:
        self.stack, self.rows = stack, rows
        self.client = Client(Door(stack.port("PROXY")), "")
        self.operator = ""
        self.contacts = 0
        self.imports = 0
        self._overnight = ("", 0)

    def run(self) -> None:
        stack = self.stack
        step("build", self._build)
        step("up until all is healthy", lambda: f"seconds: {in_words(stack.up())}")
        step("tenant and keys", self._keys)
        step("doctor", lambda: watch.doctor_is_content(stack))
        step("confinement", lambda: watch.confined(stack))
        step("broker's plugin", lambda: watch.broker_has_the_plugin(stack))
        step("doors", lambda: doors.refuses_strangers(stack))
        step("console", lambda: doors.operator_signs_in(stack, self.operator))
        step("import", self._import)
        step("mail", self._mail)
        step("export", self._export)
        step("Flower", self._flower)
        if "observability" in stack.profiles:
            step("Prometheus", lambda: watch.prometheus_sees_all(stack))
        step("logs", lambda: watch.logs_are_quiet(stack, self._secrets()))
        step("scale", self._scale)
        step("roll out under load", self._roll)
        step("limits", lambda: watch.limited(stack))
        step("stop", self._stop)
        step("down, and up with the data", self._down_up)
        step("logs since then", lambda: watch.logs_are_quiet(stack, self._secrets()))

    def _build(self) -> str:
        self.stack.compose("build", seconds=1800)
        words = ("docker", "image", "inspect", "--format", "{{.Size}}")
        sizes = [int(self.stack.run(*words, name)) / 1e6 for name in IMAGES]
        return ", ".join(f"{n} {s:.0f} MB" for n, s in zip(IMAGES, sizes, strict=True))

    def _keys(self) -> str:
        millrace = ("web", "millrace")
        self.stack.inside(*millrace, "tenants", "create", "smoke", "--email", OWNER)
        made = json.loads(self.stack.inside(*millrace, "keys", "create", "smoke", "--json"))
        self.client = Client(Door(self.stack.port("PROXY")), made["key"])
        words = ("keys", "create", "--role", "operator", "--name", "smoke", "--json")
        self.operator = json.loads(self.stack.inside(*millrace, *words))["key"]
        return "made"

    def _secrets(self) -> list[str]:
        return [*self.stack.secrets.values(), self.operator, self.client.key]

    def _import(self) -> str:
        """With the stream of its progress, which passes through the proxy as it comes."""
        body, good = contacts_csv("first", self.rows)
        began = time.monotonic()
        path = f"/v1/imports/{self.client.upload('first', body)['id']}"
        events = self.client.events(f"{path}/events", seconds=120)
        done = self._checked(self.client.finished(path, seconds=120), good)
        seconds = time.monotonic() - began
        lines = len(self.client.get(f"{path}/rejected.csv").splitlines())
        check(lines == self.rows - good + 1, f"rejected.csv has {lines} lines")
        self._count(good, 1)
        return f"{self.rows} rows in {seconds:.1f} s, {events} events: {done['counts']}"

    def _mail(self) -> str:
        def there() -> int:
            return watch.mails_to(self.stack, OWNER, subject="first.csv")

        soon = watch.soon(there, seconds=60, what=f"a mail to {OWNER} about the import")
        return f"{soon} to {OWNER} about the import"

    def _export(self) -> str:
        """By a link to the store that is good for minutes, at the address that is published."""
        ordered = self.client.order(target="contacts", format="csv")
        path = f"/v1/exports/{ordered['id']}"
        done = self.client.finished(path, seconds=120)
        check(done["status"] == "succeeded", f"the export: {done}")
        answer = self.client.download(f"{path}/download")
        check(answer.status == http.client.TEMPORARY_REDIRECT, f"download: {answer.status}")
        link = urllib.parse.urlsplit(answer.headers["location"])
        port = self.stack.port("PROXY")
        check(link.netloc == f"127.0.0.1:{port}", f"the link leads to {link.netloc}")
        file = ask(port, f"{link.path}?{link.query}")
        check(file.status == http.client.OK, f"the link: {file.status} {file.body[:300]!r}")
        check(hashlib.sha256(file.body).hexdigest() == done["sha256"], "the file isn't the export")
        lines = len(file.body.splitlines())
        check(lines == self.contacts + 1, f"the file has {lines} lines")
        forged = ask(port, f"{link.path}?{link.query[:-4]}0000").status
        check(forged == http.client.FORBIDDEN, f"a forged link: {forged}")
        return f"{done['rows']} rows, {len(file.body)} bytes by its link; a forged one is refused"

    def _flower(self) -> str:
        found = watch.workers_by_queue(doors.flower_only_looks(self.stack))
        check(found == watch.every_pool_once(), f"Flower knows {found}")

        def kinds() -> set[str] | None:
            seen = doors.kinds_in_flower(self.stack)
            return seen if {"import.plan", "import.chunk", "export.table"} <= seen else None

        seen = watch.soon(kinds, seconds=30, what="the kinds that ran, in Flower")
        return f"a worker for each of {', '.join(sorted(found))}; kinds: {', '.join(sorted(seen))}"

    def _scale(self) -> str:
        self.stack.env |= {replicas_of(name): str(n) for name, n in SCALED.items()}
        figures = self.stack.up("--no-recreate")
        self._as_many_as_wanted()
        body, good = contacts_csv("scaled", self.rows)
        path = f"/v1/imports/{self.client.upload('scaled', body)['id']}"
        self._checked(self.client.finished(path, seconds=120), good)
        self._count(good, 1)
        return f"{SCALED}, healthy after {in_words(figures)}; another {self.rows} rows imported"

    def _roll(self) -> str:
        self.client.repeats.clear()
        load = Load(self.client, threads=3, rows=2000)
        try:
            time.sleep(2)
            services = ("worker-high", "worker-default", "worker-low", "dispatcher", "web")
            said = self.stack.run(str(ROLL), *services, seconds=500)
        finally:
            load.stop()
        check(not load.errors, f"refused: {load.errors}")
        print("\n".join(f"    {line}" for line in said.splitlines()))
        check(said.count("(exit code 0)") == said.count("(exit code "), "one was killed, or failed")
        for import_id, good in load.accepted.items():
            state = self.client.finished(f"/v1/imports/{import_id}", seconds=180)
            self._checked(state, good)
        self._count(sum(load.accepted.values()), len(load.accepted))
        (retries,) = self.stack.sql("SELECT count(*) FROM jobs WHERE attempt > 1")
        repeats = self.client.repeats
        check(not repeats, f"calls that failed while the web was replaced: {dict(repeats)}")
        return (
            f"{len(load.accepted)} imports accepted and exact, no call failed, {retries} jobs took "
            "more than one attempt"
        )

    def _stop(self) -> str:
        """All end by themselves; ours with status 0. With a message in the broker and a file in the store."""
        self.stack.compose("stop", "worker-default")
        body, good = contacts_csv("overnight", self.rows)
        self._overnight = self.client.upload("overnight", body)["id"], good
        ended = self.stack.stop()
        failed = [
            each
            for each in ended
            if each.status == KILLED or (each.service in OURS and each.status)
        ]
        check(not failed, f"did not end well: {failed}")
        longest: dict[str, float] = {}
        for each in ended:
            longest[each.service] = max(longest.get(each.service, 0), each.seconds)
        running = {name: seconds for name, seconds in longest.items() if seconds > 0}
        others = {each.service: each.status for each in ended if each.status}
        return f"seconds: {in_words(running)}; status other than 0: {others or 'none'}"

    def _down_up(self) -> str:
        began = time.monotonic()
        self.stack.compose("down", seconds=180)
        down = time.monotonic() - began
        figures = self.stack.up()
        self._as_many_as_wanted()
        import_id, good = self._overnight
        state = self.client.finished(f"/v1/imports/{import_id}", seconds=120)
        self._checked(state, good)
        self._count(good, 1)
        query = "SELECT count(*) FROM job_history WHERE detail->>'code' = 'message_lost'"
        (lost,) = self.stack.sql(query)
        check(lost == "0", f"{lost} messages were taken for lost, and none was")
        kept = f"{self.contacts} contacts, {self.imports} imports"
        return f"down {down:.0f} s; healthy after {in_words(figures)}; {kept}"

    def _as_many_as_wanted(self) -> None:
        for name, number in SCALED.items():
            found = len(self.stack.compose("ps", "--quiet", name).split())
            check(found == number, f"{found} of {name}")

    def _checked(self, state: Import, good: int) -> Import:
        exact = state["status"] == "succeeded" and state["counts"]["inserted"] == good
        check(exact, f"expected {good} new contacts: {state}")
        return state

    def _count(self, contacts: int, imports: int) -> None:
        """The database has what was accepted, no row less and none more."""
        self.contacts += contacts
        self.imports += imports
        query = "SELECT count(*) FROM contacts UNION ALL SELECT count(*) FROM imports"
        found = [int(number) for number in self.stack.sql(query)]
        expected = [self.contacts, self.imports]
        check(found == expected, f"contacts and imports: expected {expected}, found {found}")
