"""What a developer needs to talk to a running system: a tenant, its key, a file to source."""

import json
import shlex
from pathlib import Path

from infra.local.client import Client
from infra.local.private_file import write_private
from infra.local.system import LocalSystem
from infra.local.tenant import make_tenant

TENANT = "dev"
EMAIL = "dev@example.com"


def write_environment(system: LocalSystem) -> Path:
    """Write `dev.env`: API_URL, API_KEY and every setting of the product's processes."""
    path = system.layout.home / "dev.env"
    variables = {"API_URL": system.web_url, "API_KEY": _api_key(system), **system.settings}
    lines = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    write_private(path, "\n".join(["# set -a; . .local/dev.env; set +a", *lines, ""]))
    return path


def _api_key(system: LocalSystem) -> str:
    """The developer's key: the same one from run to run, while it is good."""
    kept = system.layout.home / "developer.json"
    if kept.exists():
        key: str = json.loads(kept.read_text())["api_key"]
        if Client(system.web_url, key).accepts_key():
            return key
    tenant = make_tenant(system, TENANT, email=EMAIL)
    write_private(kept, json.dumps({"tenant": tenant.id, "api_key": tenant.api_key}) + "\n")
    return tenant.api_key
