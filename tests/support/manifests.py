"""The manifests of infra/k8s as they are built, and what the processes in them are set to."""

from collections.abc import Iterator
from pathlib import Path

from app.settings import Settings
from tests.support.kustomize import Object, build

OVERLAYS = Path(__file__).resolve().parents[2] / "infra" / "k8s" / "overlays"
NAMES = ("staging", "production")
BUILT = {name: build(OVERLAYS / name) for name in NAMES}
URLS = {
    "MILLRACE_DATABASE_URL": "postgresql://a:b@pgbouncer:6432/millrace",
    "MILLRACE_DATABASE_DIRECT_URL": "postgresql://a:b@postgres:5432/millrace",
    "MILLRACE_BROKER_URL": "amqp://a:b@rabbitmq:5672/millrace",
}
"""What the secret has."""


def of(overlay: str, *kinds: str) -> list[Object]:
    """The overlay's objects of these kinds."""
    return [one for one in BUILT[overlay] if one["kind"] in kinds]


def named(overlay: str, kind: str, name: str) -> Object:
    """The one of that kind and name."""
    (one,) = [one for one in of(overlay, kind) if one["metadata"]["name"] == name]
    return one


def pods(overlay: str) -> Iterator[tuple[str, Object, Object]]:
    """Name, pod template's spec and container of each workload; all have one container."""
    for one in of(overlay, "Deployment", "Job"):
        spec = one["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        yield one["metadata"]["name"], spec, container


def settings_of(overlay: str) -> Settings:
    """Of every process of the product."""
    data = named(overlay, "ConfigMap", "millrace")["data"]
    return Settings.of({**URLS, **data})
