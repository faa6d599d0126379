"""A private RabbitMQ node: own name, own epmd, own cookie, own data; loopback only."""

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import amqp

from infra.local import rabbitmq_binaries
from infra.local.layout import ROOT
from infra.local.ports import LOOPBACK, accepts
from infra.local.private_file import write_private
from infra.local.program import Program

NAME = "rabbitmq"
EPMD = "epmd"
USER = "millrace"
VHOST = "millrace"
DEFINITIONS = ROOT / "infra" / "rabbitmq" / "definitions.json"

CONFIGURATION = """\
listeners.tcp.1 = {host}:{port}
load_definitions = {definitions}
# A development machine's full disk or memory must not block publishers before it blocks us.
disk_free_limit.absolute = 50MB
vm_memory_high_watermark.relative = 0.6
log.console = true
log.console.level = info
log.file = false
"""
METRICS = """\
prometheus.tcp.ip = {host}
prometheus.tcp.port = {port}
"""
METRICS_PLUGIN = "rabbitmq_prometheus"
PLUGIN = "rabbitmq_consistent_hash_exchange"
"""Costs a start nothing that could be measured; whether anything uses it is MILLRACE_AFFINITY_SHARDS's business."""
METRICS_NEEDS = (METRICS_PLUGIN, "rabbitmq_management_agent", "rabbitmq_web_dispatch")


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitMQ:
    """One node with one user, who may do everything in one virtual host."""

    folder: Path
    port: int
    epmd_port: int
    distribution_port: int
    password: str
    digest: str
    metrics_port: int = 0
    """Where it shows its own metrics, by its plugin rabbitmq_prometheus, which costs every start some seconds; 0: nowhere."""

    @property
    def url(self) -> str:
        return f"amqp://{USER}:{self.password}@{LOOPBACK}:{self.port}/{VHOST}"

    @property
    def node(self) -> str:
        return f"millrace-{self.digest}@localhost"

    def programs(self) -> list[Program]:
        return [self._epmd(), self._server()]

    def cli_environment(self) -> dict[str, str]:
        """What `rabbitmqctl` and `rabbitmq-diagnostics` need to reach this node."""
        return {
            # The cookie is made in HOME by the node, so no ~/.erlang.cookie is read or written.
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "no-env.conf"),
        }

    def is_ready(self) -> bool:
        try:
            with amqp.Connection(
                f"{LOOPBACK}:{self.port}",
                userid=USER,
                password=self.password,
                virtual_host=VHOST,
                connect_timeout=2,
                read_timeout=5,
            ):
                return True
        except (OSError, amqp.AMQPError):
            return False

    def _epmd(self) -> Program:
        """In the foreground and ours, or the node would start a shared daemon that outlives it."""
        return Program(
            name=EPMD,
            command=[str(rabbitmq_binaries.epmd())],
            environment=self.cli_environment(),
            ready=lambda: accepts(self.epmd_port),
            server=True,
        )

    def _server(self) -> Program:
        path = self.folder
        return Program(
            name=NAME,
            command=[str(rabbitmq_binaries.server())],
            needs=[EPMD],
            environment={
                **self.cli_environment(),
                "RABBITMQ_MNESIA_BASE": str(path / "data"),
                "RABBITMQ_LOG_BASE": str(path / "log"),
                "RABBITMQ_LOGS": "-",
                "RABBITMQ_PID_FILE": str(path / "pid"),
                "RABBITMQ_CONFIG_FILE": str(path / "rabbitmq.conf"),
                "RABBITMQ_CONFIG_FILES": str(path / "conf.d"),
                "RABBITMQ_ADVANCED_CONFIG_FILE": str(path / "advanced.config"),
                "RABBITMQ_GENERATED_CONFIG_DIR": str(path / "generated"),
                "RABBITMQ_ENABLED_PLUGINS_FILE": str(path / "enabled_plugins"),
                "RABBITMQ_DIST_PORT": str(self.distribution_port),
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                    "-kernel inet_dist_use_interface {127,0,0,1}"
                ),
                # Makes the start script exec the VM: the pid we watch and signal is the node's.
                "RUNNING_UNDER_SYSTEMD": "true",
                **self._plugins(),
            },
            ready=self.is_ready,
            ready_seconds=120,
            stop_seconds=30,
            directory=path,
            server=True,
            before_start=self._configure,
        )

    def _configure(self) -> None:
        (self.folder / "conf.d").mkdir(parents=True, exist_ok=True)
        definitions = self.folder / "definitions.json"
        write_private(definitions, json.dumps(with_user(_definitions(), self.password), indent=2))
        # The management plugin costs four seconds at every start and six at every stop.
        plugins = ",".join([PLUGIN, *([METRICS_PLUGIN] if self.metrics_port else [])])
        (self.folder / "enabled_plugins").write_text(f"[{plugins}].\n")
        configuration = CONFIGURATION.format(host=LOOPBACK, port=self.port, definitions=definitions)
        if self.metrics_port:
            configuration += METRICS.format(host=LOOPBACK, port=self.metrics_port)
        (self.folder / "rabbitmq.conf").write_text(configuration)

    def _plugins(self) -> dict[str, str]:
        """RabbitMQ 3 loads the code of every plugin it can see, enabled or not: two seconds."""
        installed = rabbitmq_binaries.plugins()
        if installed is None or not any(installed.glob("rabbit-3.*")):
            return {}
        visible = self.folder / "plugins"
        visible.mkdir(parents=True, exist_ok=True)
        for link in visible.iterdir():
            link.unlink()
        wanted = ("rabbitmq_prelaunch", PLUGIN, *(METRICS_NEEDS if self.metrics_port else ()))
        for part in installed.iterdir():
            plugin = part.name.startswith("rabbitmq_")
            if not plugin or part.name.startswith(wanted):
                (visible / part.name).symlink_to(part)
        return {"RABBITMQ_PLUGINS_DIR": str(visible)}


def with_user(definitions: dict[str, Any], password: str) -> dict[str, Any]:
    """`definitions` plus our one user: a node that loads definitions makes no user by itself."""
    salt = hashlib.sha256(password.encode()).digest()[:4]
    digest = hashlib.sha256(salt + password.encode()).digest()
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    return {
        **definitions,
        "users": [
            {
                "name": USER,
                "password_hash": base64.b64encode(salt + digest).decode(),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": "administrator",
            }
        ],
        "permissions": [{"user": USER, "vhost": VHOST, **everything}],
    }


def _definitions() -> dict[str, Any]:
    if not DEFINITIONS.exists():
        return {"vhosts": [{"name": VHOST}]}
    definitions: dict[str, Any] = json.loads(DEFINITIONS.read_text())
    return definitions
