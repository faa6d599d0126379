"""docker-compose.yml, .env.example and the Dockerfiles, held against the code. Nothing is started."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from app.broker import topology
from app.serving import GRACE_SECONDS
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
Service = dict[str, Any]

DOCKERFILES = ("Dockerfile.web", "Dockerfile.worker")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Service] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
SERVERS = {name: service for name, service in SERVICES.items() if "build" not in service}
ONCE = {"migrate", "bucket"}
OBSERVERS = {"prometheus", "alertmanager", "grafana"}
WORKERS = {name: service for name, service in SERVICES.items() if name.startswith("worker-")}
SECRETS = {
    "POSTGRES_PASSWORD",
    "RABBITMQ_PASSWORD",
    "S3_ACCESS_KEY_ID",
    "S3_SECRET_ACCESS_KEY",
    "FLOWER_PASSWORD",
    "GRAFANA_PASSWORD",
    "MILLRACE_SEALING_KEYS",
}
FIELDS = {f"MILLRACE_{name.upper()}": field for name, field in Settings.model_fields.items()}
SET_BY_COMPOSE = {
    "MILLRACE_DATABASE_URL",
    "MILLRACE_BROKER_URL",
    "MILLRACE_S3_ENDPOINT_URL",
    "MILLRACE_S3_ACCESS_KEY_ID",
    "MILLRACE_S3_SECRET_ACCESS_KEY",
}
NOT_FOR_COMPOSE = {
    "MILLRACE_HEARTBEAT_FILE": "the image's",
    "MILLRACE_S3_BUCKET": "the bundled store has one",
    "MILLRACE_S3_REGION": "the bundled store has none",
    "MILLRACE_S3_CHECKSUMS": "the bundled store's need is known",
}


def text(path: str) -> str:
    return (ROOT / path).read_text()


def example() -> Iterator[tuple[str, str, bool]]:
    """Name, value and whether the line is in force, of each line of .env.example."""
    for line in text(".env.example").splitlines():
        if found := re.fullmatch(r"(#?)([A-Z][A-Z0-9_]*)=(.*)", line):
            yield found[2], found[3], not found[1]


def stages(dockerfile: str) -> dict[str, list[str]]:
    """The instructions of each stage by its name; the last one's name is "" unless it has one."""
    joined = text(dockerfile).replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in joined.splitlines():
        if line.startswith("FROM "):
            name = re.search(r" AS (\S+)$", line)
            current = found.setdefault(name[1] if name else "", [])
        if line and not line.startswith("#"):
            current.append(re.sub(r"\s+", " ", line))
    return found


def final_stage(service: Service) -> list[str]:
    """The instructions of the stage that the service runs, below those of the stage it is made from."""
    all_stages = stages(service["build"]["dockerfile"])
    own = all_stages[service["build"].get("target", "")]
    base = own[0].split()[1]
    return [*all_stages.get(base, []), *own]


def seconds(duration: str) -> int:
    found = re.fullmatch(r"(\d+)s", duration)
    assert found, duration
    return int(found[1])


# Settings


def test_settings_that_compose_passes_on_exist() -> None:
    for name, service in SERVICES.items():
        unknown = {
            key for key in service.get("environment", {}) if key.startswith("MILLRACE_")
        } - set(FIELDS)
        assert not unknown, name


def test_every_setting_can_be_set_or_has_a_reason_not_to() -> None:
    passed_on = set(SERVICES["dispatcher"]["environment"])
    assert set(FIELDS) == passed_on | set(NOT_FOR_COMPOSE)


def test_all_our_processes_get_the_same_settings() -> None:
    environments = {name: s["environment"] for name, s in OURS.items() if name != "flower"}
    # Read by the web server itself: docs/console.md.
    environments["web"] = dict(environments["web"])
    assert environments["web"].pop("FORWARDED_ALLOW_IPS")
    assert all(environment == environments["web"] for environment in environments.values())


def test_the_example_names_every_variable_that_compose_reads() -> None:
    read = set(re.findall(r"\$\{([A-Z0-9_]+)", text("docker-compose.yml")))
    read |= {key for key, value in SERVICES["web"]["environment"].items() if value is None}
    assert {name for name, _, _ in example()} == read


def test_the_example_shows_the_real_defaults() -> None:
    compose_defaults = dict(re.findall(r"\$\{([A-Z0-9_]+):-([^}]*)\}", text("docker-compose.yml")))
    for name, shown, in_force in example():
        if in_force:
            continue
        if name in compose_defaults:
            assert shown == compose_defaults[name], name
            continue
        default = FIELDS[name].default
        if isinstance(default, bool):
            default = str(default).lower()
        elif isinstance(default, float):
            default = f"{default:g}"
        assert shown == ("" if default in (None, ()) else str(default)), name


def test_the_example_is_valid_settings_once_uncommented() -> None:
    values = {
        name.removeprefix("MILLRACE_").lower(): value
        for name, value, _ in example()
        if name.startswith("MILLRACE_") and value
    }
    Settings(database_url="postgresql://", broker_url="amqp://", **values)  # type: ignore[arg-type]


def test_secrets_are_empty_in_the_example_and_compose_insists_on_them() -> None:
    in_force = {name: value for name, value, active in example() if active}
    assert in_force == dict.fromkeys(SECRETS, "")
    compose = text("docker-compose.yml")
    for name in SECRETS:
        assert f"${{{name}:?" in compose, name
        assert f"${{{name}:-" not in compose, name


def test_no_secret_has_a_value_in_compose() -> None:
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|ACCESS_KEY|AUTH|_URL$|_API$", key) and value is not None:
                secrets = re.search(r"\$\{[A-Z0-9_]+", str(value))
                assert secrets or key == "MILLRACE_S3_ENDPOINT_URL", (name, key)


def test_flower_looks_on_remembers_and_is_found_where_the_proxy_looks() -> None:
    lines = stages("Dockerfile.worker")["flower"]
    command = next(line for line in lines if line.startswith("CMD "))
    options = set(json.loads(command.removeprefix("CMD ")))
    assert {"--read_only=True", "--persistent=True", "--url_prefix=flower"} <= options
    assert "--db=/data/flower.db" in options
    assert SERVICES["flower"]["volumes"] == ["flower:/data"]
    assert any("/flower/healthcheck" in line for line in lines)
    assert "handle /flower/*" in text("infra/compose/Caddyfile")
    locked = set(re.findall(r"^([a-z0-9-]+)==", text("requirements/flower.txt"), re.MULTILINE))
    assert not locked & {"sqlalchemy", "boto3", "pyarrow", "numpy", "pydantic"}


def test_flower_knows_the_broker_alone() -> None:
    environment = SERVICES["flower"]["environment"]
    assert not set(environment) & set(FIELDS)
    assert "FLOWER_PASSWORD" in environment["FLOWER_BASIC_AUTH"]


# Topology


def test_there_is_one_pool_for_each_work_queue() -> None:
    consumed = {
        argument.removeprefix("--queues=")
        for service in WORKERS.values()
        for argument in service["command"]
        if argument.startswith("--queues=")
    }
    assert consumed == {queue.value for queue in topology.Queue}
    assert set(WORKERS) == {f"worker-{queue.value}" for queue in topology.Queue}


def test_urls_name_the_virtual_host_of_the_topology() -> None:
    assert SERVICES["web"]["environment"]["MILLRACE_BROKER_URL"].endswith(f"/{topology.VHOST}")
    assert SERVICES["flower"]["environment"]["CELERY_BROKER_URL"].endswith(f"/{topology.VHOST}")


def test_rabbitmq_loads_the_definitions_and_makes_the_user() -> None:
    configuration = text("infra/compose/rabbitmq.conf")
    mounts = [mount.split(":") for mount in SERVICES["rabbitmq"]["volumes"]]
    by_target = {target: source for source, target, *_ in mounts}
    loaded = re.search(r"^load_definitions = (.+)$", configuration, re.MULTILINE)
    assert loaded
    definitions = json.loads(text(by_target[loaded[1]].removeprefix("./")))
    assert definitions["vhosts"] == [{"name": topology.VHOST}]
    # RabbitMQ makes a user for a virtual host of this pattern; users in the definitions would not be it.
    assert "users" not in definitions
    assert f"default_users.millrace.vhost_pattern = ^{topology.VHOST}$" in configuration
    variable = re.search(r"password = \$\((\w+)\)", configuration)
    assert variable
    assert variable[1] in SERVICES["rabbitmq"]["environment"]


@pytest.mark.parametrize("name", sorted(set(SERVICES)))
def test_mounted_files_exist(name: str) -> None:
    for mount in SERVICES[name].get("volumes", []):
        source = mount.split(":")[0]
        if source.startswith("."):
            assert (ROOT / source).exists(), source
        else:
            assert source in COMPOSE["volumes"], source


# Starting and stopping


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONCE))
def test_long_running_services_restart_and_have_a_health_check(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    if name in OURS:
        checks = [line for line in final_stage(service) if line.startswith("HEALTHCHECK ")]
        assert len(checks) == 1
        assert "healthcheck" not in service
    else:
        assert service["healthcheck"]["test"]


@pytest.mark.parametrize("name", sorted(ONCE))
def test_set_up_steps_run_once(name: str) -> None:
    assert SERVICES[name]["restart"] == "no"
    assert SERVICES[name]["healthcheck"] == {"disable": True}


@pytest.mark.parametrize("name", sorted({*WORKERS, "web", "dispatcher"}))
def test_the_product_waits_for_set_up_and_broker(name: str) -> None:
    wanted = {step: {"condition": "service_completed_successfully"} for step in ONCE}
    assert SERVICES[name]["depends_on"] == {
        **wanted,
        "rabbitmq": {"condition": "service_healthy"},
    }


@pytest.mark.parametrize("name", sorted(ONCE))
def test_set_up_waits_for_healthy_servers(name: str) -> None:
    assert all(
        wait == {"condition": "service_healthy"} for wait in SERVICES[name]["depends_on"].values()
    )


@pytest.mark.parametrize("name", sorted(WORKERS))
def test_workers_have_time_to_drain(name: str) -> None:
    drain = Settings.model_fields["worker_drain_seconds"].default
    assert seconds(WORKERS[name]["stop_grace_period"]) >= drain + 10


def test_web_has_time_to_finish_requests() -> None:
    drain = Settings.model_fields["web_drain_seconds"].default
    assert seconds(SERVICES["web"]["stop_grace_period"]) >= drain + GRACE_SECONDS + 10


# Confinement


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_processes_are_confined(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert all(mount.startswith("/tmp:") for mount in service["tmpfs"])  # noqa: S108
    assert "privileged" not in service
    assert "cap_add" not in service


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_logs_rotate_and_memory_is_limited(name: str) -> None:
    options = SERVICES[name]["logging"]["options"]
    assert {"max-size", "max-file"} <= set(options)
    assert SERVICES[name]["mem_limit"]


def test_only_web_pages_are_published_and_on_this_machine_only() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"web", "flower", "rabbitmq", "mail", "proxy", "jaeger", *OBSERVERS}
    for ports in published.values():
        assert all(port.startswith("${PUBLISH_ADDRESS:-127.0.0.1}:") for port in ports)


def test_data_is_on_named_volumes() -> None:
    # The image of PostgreSQL 18 wants its volume above the folder that it names after the version.
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    assert SERVICES["postgres"]["environment"]["PGDATA"] == "/var/lib/postgresql/18/docker"
    assert set(COMPOSE["volumes"]) == {
        "postgres",
        "rabbitmq",
        "s3",
        "flower",
        "clamav",
        "caddy",
        *OBSERVERS,
    }


# Images


@pytest.mark.parametrize("name", sorted(SERVERS))
def test_server_images_are_pinned_to_a_release(name: str) -> None:
    _, _, tag = SERVERS[name]["image"].partition(":")
    assert re.fullmatch(r"v?\d+(\.\d+){0,2}(-management|-p\d+)?", tag), SERVERS[name]["image"]


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_base_images_are_pinned(dockerfile: str) -> None:
    content = text(dockerfile)
    assert "\nARG PYTHON_IMAGE=python:3.13-slim\n" in content
    bases = re.findall(r"^FROM (\S+)", content, re.MULTILINE)
    assert set(bases) <= {"${PYTHON_IMAGE}", *stages(dockerfile)}


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_dependencies_come_from_the_lock(dockerfile: str) -> None:
    for stage in stages(dockerfile).values():
        for line in stage:
            for install in re.findall(r"pip [^&|]*install[^&]*", line):
                locked = "--require-hashes" in install
                assert locked or ("--no-index" in install and "--no-deps" in install), install


def test_the_worker_image_has_no_web_parts() -> None:
    dockerfile = text("Dockerfile.worker")
    assert "web.txt" not in dockerfile
    for lock in ("worker.txt", "flower.txt"):
        locked = set(re.findall(r"^([a-z0-9-]+)==", text(f"requirements/{lock}"), re.MULTILINE))
        assert not locked & {"fastapi", "starlette", "uvicorn", "httptools", "python-multipart"}
    assert "rm -r app/api app/main.py" in dockerfile


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_images_run_unprivileged_and_get_signals(name: str) -> None:
    lines = final_stage(OURS[name])
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])
    commands = [line for line in lines if line.startswith(("CMD ", "ENTRYPOINT "))]
    assert commands
    for line in commands:
        exec_form = json.loads(line.split(" ", 1)[1])
        assert exec_form[0] not in {"sh", "bash", "/bin/sh"}
    for check in (line for line in lines if line.startswith("HEALTHCHECK ")):
        assert json.loads(check[check.index("CMD ") + 4 :])[0] == "python"


@pytest.mark.parametrize("name", sorted(OURS))
def test_commands_are_in_exec_form(name: str) -> None:
    assert isinstance(OURS[name].get("command", []), list)


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_what_is_copied_is_in_the_build_context(dockerfile: str) -> None:
    allowed = {line[1:] for line in text(".dockerignore").splitlines() if line.startswith("!")}
    for stage in stages(dockerfile).values():
        for line in stage:
            if line.startswith("COPY ") and "--from=" not in line:
                sources = {word.rstrip("*") for word in line.split()[1:-1]}
                assert sources <= allowed, sources - allowed


def test_secrets_and_history_stay_out_of_the_build_context() -> None:
    rules = [line for line in text(".dockerignore").splitlines() if line and line[0] != "#"]
    assert rules[0] == "*"
    assert not {"!.env", "!.git", "!.local", "!infra", "!tests"} & set(rules)
    assert ".env" in text(".gitignore").splitlines()


def test_the_images_bring_the_heartbeat_file_that_is_checked() -> None:
    assert any(
        line.startswith("ENV MILLRACE_HEARTBEAT_FILE=/tmp/")
        for line in stages("Dockerfile.worker")["worker"]
    )
