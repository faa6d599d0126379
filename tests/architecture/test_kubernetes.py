"""infra/k8s, built as kustomize builds it, against Kubernetes's and KEDA's schemas, and against the code."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from jsonschema import Draft7Validator  # type: ignore[import-untyped]
from pydantic import SecretStr

from app.broker.topology import Queue
from app.jobs import CATALOG
from app.serving import GRACE_SECONDS
from app.settings import Settings
from tests.support import keda_schemas
from tests.support.kustomize import Object, containers
from tests.support.manifests import BUILT, NAMES, OVERLAYS, URLS, named, of, pods, settings_of

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS: Object = json.loads((ROOT / "tests/support/kubernetes_schemas.json").read_text())
FIELDS = {f"MILLRACE_{name.upper()}": field for name, field in Settings.model_fields.items()}
DOCKERFILES = {
    "web": "Dockerfile.web",
    "worker": "Dockerfile.worker",
    "flower": "Dockerfile.worker",
}
SECRET_WORDS = re.compile(r"(?i)password|secret|token|:[^/@\s]+@")


def schema_of(kind: str) -> Object:
    own = keda_schemas.KINDS.get(kind) or SCHEMAS["$defs"][SCHEMAS["kinds"][kind]]
    return {**own, "$defs": SCHEMAS["$defs"]}


# The shape


@pytest.mark.parametrize("overlay", NAMES)
def test_every_object_is_valid(overlay: str) -> None:
    wrong = [
        f"{one['kind']} {one['metadata']['name']}: {error.json_path} {error.message[:200]}"
        for one in BUILT[overlay]
        for error in Draft7Validator(schema_of(one["kind"])).iter_errors(one)
    ]
    assert not wrong


@pytest.mark.parametrize("overlay", NAMES)
def test_every_trigger_is_one_that_its_scaler_takes(overlay: str) -> None:
    for one in of(overlay, "ScaledObject"):
        for trigger in one["spec"]["triggers"]:
            schema = keda_schemas.TRIGGER_METADATA[trigger["type"]]
            Draft7Validator(schema).validate(trigger["metadata"])


def test_a_wrong_manifest_is_found() -> None:
    """The schemas themselves: a misspelt field, a wrong type and a missing one."""
    good = named("production", "Deployment", "web")
    for change in ({"replicsa": 1}, {"replicas": "many"}, {"template": None, "selector": "web"}):
        bad = {**good, "spec": {**good["spec"], **change}}
        assert list(Draft7Validator(schema_of("Deployment")).iter_errors(bad)), change


@pytest.mark.parametrize("overlay", NAMES)
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl")
def test_kubectl_builds_the_same(overlay: str) -> None:
    """But for the hash in a ConfigMap's name, which makes a change of it roll the pods."""
    words = ["kubectl", "kustomize", str(OVERLAYS / overlay)]
    out = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
    for one in yaml.safe_load_all(out):
        if one["kind"] == "ConfigMap":
            name: str = one["metadata"]["name"]
            out = out.replace(name, name.rpartition("-")[0])

    def sorted_by_name(objects: list[Object]) -> list[str]:
        return sorted(json.dumps(one, sort_keys=True) for one in objects)

    assert sorted_by_name(list(yaml.safe_load_all(out))) == sorted_by_name(BUILT[overlay])


# The code's names


@pytest.mark.parametrize("overlay", NAMES)
def test_there_is_a_pool_for_each_queue_and_its_command_is_the_images_own(overlay: str) -> None:
    deployed = {
        one["metadata"]["labels"]["millrace.example/pool"]: one
        for one in of(overlay, "Deployment")
        if "millrace.example/pool" in one["metadata"]["labels"]
    }
    assert set(deployed) == {queue.value for queue in Queue}
    *_, default = re.findall(
        r"^CMD (\[.*\])$", (ROOT / "Dockerfile.worker").read_text(), re.MULTILINE
    )
    for queue, one in deployed.items():
        (container,) = containers(one)
        assert container["args"] == [word.replace("default", queue) for word in json.loads(default)]
        assert "replicas" not in one["spec"], "how many there are is KEDA's"


def test_web_and_dispatcher_run_what_compose_runs() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    commands = {name: container.get("args") for name, _, container in pods("production")}
    (web,) = re.findall(r"^CMD (\[.*\])$", (ROOT / "Dockerfile.web").read_text(), re.MULTILINE)
    assert commands["web"] == json.loads(web)
    assert commands["dispatcher"] == compose["dispatcher"]["command"]
    assert commands["migrate"] == compose["migrate"]["command"]
    assert commands["flower"] is None, "the image's own"


@pytest.mark.parametrize("overlay", NAMES)
def test_what_is_applied_first_is_what_the_migration_needs(overlay: str) -> None:
    """infra/k8s/roll-out.sh applies these alone, into an empty namespace the first time; secrets are there."""
    job = named(overlay, "Job", "migrate")
    spec, labels = job["spec"]["template"]["spec"], job["spec"]["template"]["metadata"]["labels"]
    config = spec["containers"][0]["envFrom"][0]["configMapRef"]["name"]
    policies = {
        one["metadata"]["name"]
        for one in of(overlay, "NetworkPolicy")
        if _selects(one["spec"]["podSelector"], labels)
    }
    needed = {
        ("Job", "migrate"),
        ("ConfigMap", config),
        *(("NetworkPolicy", one) for one in policies),
    }
    needed |= {("ServiceAccount", spec["serviceAccountName"]), ("Namespace", f"millrace-{overlay}")}
    first = {
        (one["kind"], one["metadata"]["name"])
        for one in BUILT[overlay]
        if one["metadata"].get("labels", {}).get("millrace.example/first") == "yes"
    }
    assert first == needed


@pytest.mark.parametrize("overlay", NAMES)
def test_images_are_those_that_are_built_and_have_a_version(overlay: str) -> None:
    for name, _, container in pods(overlay):
        image, _, version = container["image"].rpartition("/")[2].partition(":")
        assert version, name
        assert version != "latest", name
        if image == "pgbouncer":
            continue
        target = image.removeprefix("millrace-")
        text = (ROOT / DOCKERFILES[target]).read_text()
        assert target == "web" or f" AS {target}\n" in text
        assert "USER 10001:10001" in text


@pytest.mark.parametrize("overlay", NAMES)
def test_settings_are_the_codes_and_none_is_secret(overlay: str) -> None:
    data = named(overlay, "ConfigMap", "millrace")["data"]
    assert set(data) - {"FORWARDED_ALLOW_IPS"} <= set(FIELDS)
    assert data["FORWARDED_ALLOW_IPS"] == "*"  # as long as network.yaml lets in the ingress alone
    secret = {name for name, field in FIELDS.items() if "Secret" in str(field.annotation)}
    assert not secret & set(data)
    settings = settings_of(overlay)
    assert settings.metrics_port
    assert not any(isinstance(value, SecretStr) for value in data.values())


@pytest.mark.parametrize("overlay", NAMES)
def test_secrets_are_named_and_never_there(overlay: str) -> None:
    assert not of(overlay, "Secret")
    told = (ROOT / "docs" / "deploy-with-kubernetes.md").read_text()
    for one in BUILT[overlay]:
        values = json.dumps(one) if one["kind"] == "ConfigMap" else ""
        assert not SECRET_WORDS.search(values.replace("auth_file", "")), one["metadata"]["name"]
    for name, _, container in pods(overlay):
        for entry in container.get("env", []):
            assert "value" not in entry, name
            reference = entry["valueFrom"]["secretKeyRef"]
            assert reference["key"] in told
    for variable in URLS:
        assert variable in told


@pytest.mark.parametrize("overlay", NAMES)
def test_ports_and_health_are_where_the_processes_serve_them(overlay: str) -> None:
    settings = settings_of(overlay)
    status = {"containerPort": settings.metrics_port, "name": "status"}
    for name, _, container in pods(overlay):
        if name in {"migrate", "pgbouncer"}:
            continue
        probes = {kind: container[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness")}
        paths = {kind: probe["httpGet"]["path"] for kind, probe in probes.items()}
        if name == "flower":
            assert set(paths.values()) == {"/flower/healthcheck"}
        else:
            assert paths == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
        assert {probe["httpGet"]["port"] for probe in probes.values()} == {
            container["ports"][0]["name"]
        }
        assert min(probe["timeoutSeconds"] for probe in probes.values()) >= 5, (
            "two servers, 2 s each"
        )
        if name not in {"web", "flower"}:
            assert container["ports"] == [status]
    assert settings.metrics_host == "0.0.0.0"  # noqa: S104 - in a pod, behind a NetworkPolicy


# Ending


@pytest.mark.parametrize("overlay", NAMES)
def test_every_process_has_the_time_that_it_takes_to_end(overlay: str) -> None:
    settings = settings_of(overlay)
    graces = {name: spec["terminationGracePeriodSeconds"] for name, spec, _ in pods(overlay)}
    for queue in Queue:
        assert graces[f"worker-{queue.value}"] >= settings.worker_drain_seconds + 10
    longest = max(one.spec.hard_seconds for one in CATALOG.values())
    assert settings.worker_drain_seconds >= longest, "or a pool that shrinks uses its attempts up"
    assert graces["web"] >= settings.web_drain_seconds + GRACE_SECONDS + 10
    assert graces["dispatcher"] >= 30
    (pooler,) = (one for name, _, one in pods(overlay) if name == "pgbouncer")
    noticed = pooler["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert noticed >= 10, "until no Service leads to it any more"
    assert graces["pgbouncer"] >= noticed + 60
    readiness = {name: one["readinessProbe"] for name, _, one in pods(overlay) if name == "web"}
    probe = readiness["web"]
    assert probe["periodSeconds"] * probe["failureThreshold"] <= settings.web_drain_seconds


# Confinement: pod security "restricted", and more


@pytest.mark.parametrize("overlay", NAMES)
def test_every_pod_is_restricted(overlay: str) -> None:
    labels = of(overlay, "Namespace")[0]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, spec, container in pods(overlay):
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        pod = spec["securityContext"]
        assert (pod["runAsNonRoot"], pod["runAsUser"]) == (True, 10001), name
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        kinds = {kind for volume in spec.get("volumes", []) for kind in volume} - {"name"}
        assert kinds <= {"emptyDir", "configMap", "secret"}, name
        limits, requests = container["resources"]["limits"], container["resources"]["requests"]
        assert limits["memory"], name
        assert set(requests) == {"cpu", "memory"}, name


@pytest.mark.parametrize("overlay", NAMES)
def test_selectors_find_their_pods_and_deployments_survive_a_drain_of_a_node(overlay: str) -> None:
    deployments = {one["metadata"]["name"]: one for one in of(overlay, "Deployment")}
    budgets = {one["metadata"]["name"]: one for one in of(overlay, "PodDisruptionBudget")}
    assert set(budgets) == set(deployments) - {"flower"}
    for name, one in deployments.items():
        labels = one["spec"]["template"]["metadata"]["labels"]
        wanted = one["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= labels.items(), name
        if name != "flower":
            assert budgets[name]["spec"]["selector"]["matchLabels"] == wanted, name
            (spread,) = one["spec"]["template"]["spec"]["topologySpreadConstraints"]
            assert spread["labelSelector"]["matchLabels"] == wanted, name
    for service in of(overlay, "Service"):
        name = service["metadata"]["name"]
        assert service["spec"]["selector"] == deployments[name]["spec"]["selector"]["matchLabels"]
        (container,) = containers(deployments[name])
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]


@pytest.mark.parametrize("overlay", NAMES)
def test_nothing_is_reached_but_what_is_allowed(overlay: str) -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in of(overlay, "NetworkPolicy")}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    labels = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"]
        for one in of(overlay, "Deployment", "Job")
    }
    allowed = {
        name: {
            policy
            for policy, spec in policies.items()
            if policy not in {"default-deny", "dns"} and _selects(spec["podSelector"], mine)
        }
        for name, mine in labels.items()
    }
    worker = {"from-prometheus", "to-postgres", "to-rabbitmq", "to-https", "to-smtp"}
    assert allowed == {
        "web": {"from-ingress", *worker} - {"to-smtp"},
        "dispatcher": worker - {"to-smtp"},
        **{f"worker-{queue.value}": worker for queue in Queue},
        "flower": {"from-ingress", "to-rabbitmq"},
        "pgbouncer": {"pgbouncer", "to-postgres"},
        "migrate": {"to-postgres"},
    }
    assert settings_of(overlay).metrics_port in {
        port["port"] for port in policies["from-prometheus"]["ingress"][0]["ports"]
    }
    (https,) = policies["to-https"]["egress"][0]["to"]
    assert "169.254.0.0/16" in https["ipBlock"]["except"], "the cloud's metadata"


@pytest.mark.parametrize("overlay", NAMES)
def test_what_is_applied_again_is_said_to_be_unchanged(overlay: str) -> None:
    """A list is compared as a whole, and the server adds a protocol to each port: without one of ours `kubectl apply` tells
    of a change every time.
    """
    ports = [
        port
        for one in of(overlay, "NetworkPolicy")
        for rule in (*one["spec"].get("ingress", []), *one["spec"].get("egress", []))
        for port in rule["ports"]
    ]
    assert ports
    assert all("protocol" in port for port in ports)


def _selects(selector: Object, labels: dict[str, str]) -> bool:
    for rule in selector.get("matchExpressions", []):
        there = rule["key"] in labels
        if not there or (rule["operator"] == "In" and labels[rule["key"]] not in rule["values"]):
            return False
    return bool(selector.get("matchLabels", {}).items() <= labels.items())
