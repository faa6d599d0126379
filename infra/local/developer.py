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
    """Write `dev.env`: API_URL, API_KEY, OPERATOR_KEY and every setting of the product's processes."""
    path = system.layout.home / "dev.env"
    variables = {"API_URL": system.web_url, **_keys(system), **system.settings}
    lines = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    write_private(path, "\n".join(["# set -a; . .local/dev.env; set +a", *lines, ""]))
    return path


def _keys(system: LocalSystem) -> dict[str, str]:
    """The developer's keys, as a customer and as an admin: the same from run to run, while they are good."""
    kept = system.layout.home / "developer.json"
    if kept.exists():
        facts: dict[str, str] = json.loads(kept.read_text())
        good = Client(system.web_url, facts["api_key"]).accepts_key()
        if good and "operator_key" in facts:
            return {"API_KEY": facts["api_key"], "OPERATOR_KEY": facts["operator_key"]}
    tenant = make_tenant(system, TENANT, email=EMAIL)
    made = system.run_command("keys", "create", "--role", "admin", "--name", TENANT, "--json")
    operator: str = json.loads(made)["key"]
    facts = {"tenant": tenant.id, "api_key": tenant.api_key, "operator_key": operator}
    write_private(kept, json.dumps(facts) + "\n")
    return {"API_KEY": tenant.api_key, "OPERATOR_KEY": operator}
