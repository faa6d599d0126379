"""A stack that is deployed by infra/k8s, tried out as it stands: kubectl's current context, and the address that
customers use. Needs kubectl and Python 3.11; nothing else.

    python3 -m infra.k8s.smoke staging --url https://staging.millrace.example.com --email ops@example.com

It applies no manifest. It restarts every Deployment of ours and deletes pods under load, so it is for staging. It makes a
tenant, which stays. Exit status 1 when a row is lost or doubled, a call fails, or a process ends badly.
"""

import argparse
import http.client
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from infra.compose.smoke.client import Client, Import, Load, contacts_csv
from infra.compose.smoke.errors import SmokeError, check
from infra.compose.smoke.steps import step
from infra.compose.smoke.watch import PROBE, soon
from infra.compose.smoke.web import Door

Object = dict[str, Any]

WORKERS = ("worker-high", "worker-default", "worker-low")
PRODUCT = (*WORKERS, "dispatcher", "web")
DEPLOYED = (*PRODUCT, "flower", "pgbouncer")
PART_OF = "app.kubernetes.io/part-of=millrace"
NAME = "app.kubernetes.io/name"
ROLL_SECONDS = 1800
"""A worker may take a quarter of an hour to end."""
IMPORT_SECONDS = 300
AUTOSCALERS = "horizontalpodautoscalers.v2.autoscaling"
"""The older version that a short name may mean doesn't tell what it measures."""


class Cluster:
    """One namespace, through kubectl."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def kubectl(self, *words: str, seconds: float = 60) -> str:
        """What it printed. Raises SmokeError with the end of it when it fails or takes longer."""
        try:
            done = subprocess.run(
                ["kubectl", "--namespace", self.namespace, *words],
                timeout=seconds, check=True, capture_output=True, text=True,
            )  # fmt: skip
        except FileNotFoundError:
            raise SmokeError("there is no kubectl") from None
        except subprocess.CalledProcessError as error:
            raise SmokeError(f"kubectl {' '.join(words)}: {error.stderr[-2000:]}") from None
        except subprocess.TimeoutExpired:
            raise SmokeError(f"kubectl {' '.join(words)} took more than {seconds:.0f} s") from None
        return done.stdout

    def listed(self, kind: str, selector: str = PART_OF) -> list[Object]:
        said = self.kubectl("get", kind, "--selector", selector, "--output", "json")
        found: list[Object] = json.loads(said)["items"]
        return found

    def pods(self, name: str) -> list[Object]:
        """Those that run and aren't ending; what was evicted stays in the list."""
        pods = self.listed("pods", f"{PART_OF},{NAME}={name}")
        running = (one for one in pods if one["status"]["phase"] == "Running")
        return [one for one in running if "deletionTimestamp" not in one["metadata"]]

    def inside(self, deployment: str, *words: str) -> str:
        return self.kubectl("exec", f"deployment/{deployment}", "--", *words)

    def wait_for(self, *deployments: str) -> None:
        for name in deployments:
            self.kubectl(
                "rollout", "status", f"deployment/{name}", f"--timeout={ROLL_SECONDS}s",
                seconds=ROLL_SECONDS + 30,
            )  # fmt: skip

    def restarts(self) -> Counter[str]:
        """How often a container began anew, by pod; those of pods that are gone are forgotten."""
        counted: Counter[str] = Counter()
        for pod in self.listed("pods"):
            for status in pod["status"].get("containerStatuses", []):
                counted[pod["metadata"]["name"]] += status["restartCount"]
        return counted


class Smoke:
    """From what is there to the last figure."""

    def __init__(self, cluster: Cluster, door: Door, *, email: str, rows: int) -> None:
        self.cluster, self.email, self.rows = cluster, email, rows
        self.tenant = f"smoke-{time.strftime('%Y%m%d-%H%M%S')}"
        self.client = Client(door, "")

    def run(self) -> None:
        step("all is there", self._there)
        step("doctor", self._doctor)
        step("confinement", self._confined)
        step("autoscalers", self._scaled)
        step("tenant and key", self._key)
        step("import", self._import)
        before = self.cluster.restarts()
        step("roll out under load", self._roll)
        step("pods deleted under load", self._delete)
        step("PgBouncer replaced under load", self._pooler)
        step("a worker killed", self._kill)
        step("restarts", lambda: self._restarts(before))

    def _there(self) -> str:
        self.cluster.wait_for(*DEPLOYED)
        there = {
            each["metadata"]["name"]: each["status"] for each in self.cluster.listed("deployments")
        }
        return ", ".join(f"{name} {there[name]['readyReplicas']}" for name in DEPLOYED)

    def _doctor(self) -> str:
        said = self.cluster.inside("web", "sh", "-c", "millrace doctor --json || true")
        checks = json.loads(said)["checks"]
        failed = [each for each in checks if each["status"] == "failed"]
        check(not failed, f"the doctor says: {failed}")
        warned = sorted({each["check"] for each in checks if each["status"] == "warning"})
        return f"{len(checks)} checks; warnings: {', '.join(warned) or 'none'}"

    def _confined(self) -> str:
        """Each of ours is nobody, may do nothing, and can't write to its root."""
        for name in (*PRODUCT, "flower"):
            facts = json.loads(self.cluster.inside(name, "python", "-I", "-S", "-c", PROBE))
            wanted = {"uid": 10001, "capabilities": 0, "may_gain": False, "wrote": False}
            check(facts == wanted, f"{name}: {facts}")
        return "user 10001, no capabilities, a root that is read-only"

    def _scaled(self) -> str:
        """Each pool has an autoscaler, and that one knows all of its figures."""
        made: dict[str, Object] = {}
        for each in json.loads(self.cluster.kubectl("get", AUTOSCALERS, "--output", "json"))[
            "items"
        ]:
            made[each["spec"]["scaleTargetRef"]["name"]] = each
        check(set(WORKERS) <= set(made), f"only {sorted(made)} have an autoscaler: look at KEDA")
        for name in WORKERS:
            conditions = made[name]["status"].get("conditions", [])
            active = {each["type"]: each["status"] for each in conditions}.get("ScalingActive")
            known = len(made[name]["status"].get("currentMetrics") or [])
            wanted = len(made[name]["spec"]["metrics"])
            check(
                active == "True" and known == wanted, f"{name}: {known} of {wanted} figures known"
            )
        return f"{wanted} figures known for each of {', '.join(WORKERS)}"

    def _key(self) -> str:
        millrace = ("web", "millrace")
        self.cluster.inside(*millrace, "tenants", "create", self.tenant, "--email", self.email)
        made = json.loads(self.cluster.inside(*millrace, "keys", "create", self.tenant, "--json"))
        self.client.key = made["key"]
        return f"{self.tenant}; it stays (docs/delete-a-tenant.md)"

    def _import(self) -> str:
        body, good = contacts_csv("first", self.rows)
        began = time.monotonic()
        done = self._exact(self.client.upload("first", body)["id"], good)
        return f"{self.rows} rows in {time.monotonic() - began:.1f} s: {done['counts']}"

    def _roll(self) -> str:
        """In the order of roll-out.sh."""

        def act() -> str:
            took = []
            for wave in (WORKERS, ("dispatcher", "web")):
                began = time.monotonic()
                for name in wave:
                    self.cluster.kubectl("rollout", "restart", f"deployment/{name}")
                self.cluster.wait_for(*wave)
                took.append(f"{', '.join(wave)} after {time.monotonic() - began:.0f} s")
            return "; ".join(took)

        return self._under_load("roll", act)

    def _delete(self) -> str:
        """One pod of each, by itself: what a node that is drained does to them."""

        def act() -> str:
            took = []
            for name in (*WORKERS, "dispatcher", "web"):
                pods = self.cluster.pods(name)
                if name == "web" and len(pods) == 1:
                    continue
                began = time.monotonic()
                words = ("delete", "pod", pods[0]["metadata"]["name"])
                self.cluster.kubectl(*words, seconds=ROLL_SECONDS)
                took.append(f"{name} {time.monotonic() - began:.0f} s")
                self.cluster.wait_for(name)
            return f"ended within: {', '.join(took)}"

        return self._under_load("delete", act)

    def _pooler(self) -> str:
        """A call that waits while others' transactions end is cut off, and told to come again."""
        if len(self.cluster.pods("pgbouncer")) == 1:
            return "left alone: there is one"

        def act() -> str:
            self.cluster.kubectl("rollout", "restart", "deployment/pgbouncer")
            self.cluster.wait_for("pgbouncer")
            return "all replaced"

        return self._under_load("pooler", act, unavailable=True)

    def _kill(self) -> str:
        """While it runs a job: nobody hands that back."""
        body, good = contacts_csv("killed", 5 * self.rows)
        import_id = self.client.upload("killed", body)["id"]
        running = soon(self._running, seconds=60, what="a running part of an import")
        words = ("--grace-period=0", "--force", "--wait=false")
        self.cluster.kubectl("delete", "pod", running, *words)
        done = self._exact(import_id, good)
        return f"{running} while it ran a part of an import: {done['counts']}"

    def _running(self) -> str | None:
        """A pod that runs a part of an import."""
        pods = {pod["metadata"]["name"] for pod in self.cluster.pods("worker-default")}
        workers = [str(job["worker"]) for job in self._jobs("--state", "running")]
        named = (pod for pod in sorted(pods) if any(pod in worker for worker in workers))
        return next(named, None)

    def _restarts(self, before: Counter[str]) -> str:
        again = self.cluster.restarts() - before
        check(not again, f"containers that ended and began anew: {dict(again)}")
        return "no container ended but those that were told to"

    def _under_load(self, name: str, act: Callable[[], str], *, unavailable: bool = False) -> str:
        """What `act` says, and what became of the imports that were posted meanwhile. Calls may be told to come again if
        `unavailable`; they are repeated.
        """
        self.client.repeats.clear()
        load = Load(self.client, threads=3, rows=2000, name=name)
        try:
            said = act()
        finally:
            load.stop()
        check(not load.errors, f"refused: {load.errors}")
        for import_id, good in load.accepted.items():
            self._exact(import_id, good)
        repeats = self.client.repeats
        failed = {what: n for what, n in repeats.items() if not (unavailable and what[:3] == "503")}
        check(not failed, f"calls that failed: {failed}")
        retried = sum(job["attempt"] > 1 for job in self._jobs())
        return (
            f"{said}; {len(load.accepted)} imports accepted and exact, {repeats.total()} calls were answered 503, "
            f"{retried} jobs so far took more than one attempt"
        )

    def _jobs(self, *words: str) -> list[Object]:
        options = ("--tenant", self.tenant, "--limit", "10000", "--json", *words)
        jobs: list[Object] = json.loads(
            self.cluster.inside("web", "millrace", "jobs", "list", *options)
        )
        return jobs

    def _exact(self, import_id: str, good: int) -> Import:
        """The import, ended: no row less than was good, and none more."""
        state = self.client.finished(f"/v1/imports/{import_id}", seconds=IMPORT_SECONDS)
        exact = state["status"] == "succeeded" and state["counts"]["inserted"] == good
        check(exact, f"expected {good} new contacts: {state}")
        return state


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python3 -m infra.k8s.smoke", description="Try a deployed environment out."
    )
    parser.add_argument("environment", help="whose namespace is millrace-ENVIRONMENT")
    parser.add_argument("--url", required=True, type=Door.at, help="where customers reach it")
    parser.add_argument("--email", required=True, help="who gets the mails of its tenant")
    parser.add_argument("--rows", type=int, default=20_000, help="rows of the first file")
    options = parser.parse_args()
    cluster = Cluster(f"millrace-{options.environment}")
    began = time.monotonic()
    try:
        Smoke(cluster, options.url, email=options.email, rows=options.rows).run()
    except (SmokeError, OSError, http.client.HTTPException, KeyboardInterrupt) as error:
        print(f"FAILED: {str(error) or repr(error)}", file=sys.stderr)
        return 1
    print(f"passed in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
