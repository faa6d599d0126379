"""What the files beside docker-compose.yml say of its services, held against it. Nothing is started."""

import configparser
import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml  # type: ignore[import-untyped]

from app.broker import affinity
from app.settings import Settings
from infra.compose.smoke import stack
from infra.compose.smoke.stack import Stack
from tests.architecture.test_compose import (
    COMPOSE,
    ONCE,
    OURS,
    ROOT,
    SERVICES,
    WORKERS,
    example,
    text,
)

CADDYFILE = text("infra/compose/Caddyfile")
GUIDE = text("docs/deploy-with-compose.md")
PROMETHEUS: dict[str, Any] = yaml.safe_load(text("infra/prometheus/prometheus.yml"))
ROWS_OF_A_SHEET, BYTES_OF_A_ROW = 2**20, 700
"""Of an Excel file in the making: 660 for a contact without attributes."""
DOCKER_NETWORKS = [
    *(ipaddress.IPv4Network(f"172.{second}.0.0/16") for second in range(17, 32)),
    ipaddress.IPv4Network("192.168.0.0/16"),
]
"""That Docker takes its networks from by turns, as long as nobody tells it others."""


def default_of(variable: str) -> str:
    found = re.search(rf"\$\{{{variable}:-([^}}]*)\}}", text("docker-compose.yml"))
    assert found, variable
    return found[1]


# The proxy


def test_the_proxy_hands_signed_links_to_the_store_and_nothing_else() -> None:
    signed = re.search(
        r"@signed \{(.*?)\}\n\t\thandle @signed \{(.*?)\n\t\t\}", CADDYFILE, re.DOTALL
    )
    assert signed
    matcher, handler = signed[1] + "}", signed[2]
    bucket = Settings.model_fields["s3_bucket"].default
    assert f"path /{{$S3_BUCKET:{bucket}}}/*" in signed[0]
    assert "query X-Amz-Signature=*" in signed[0]
    assert "DELETE" not in matcher
    assert "POST" not in matcher
    inside = urlsplit(SERVICES["web"]["environment"]["MILLRACE_S3_ENDPOINT_URL"])
    assert f"{{$S3_UPSTREAM:{inside.netloc}}}" in handler
    # The signature covers the host that the caller named.
    assert "header_up" not in handler
    assert "handle_path" not in CADDYFILE


def test_the_proxy_is_believed_about_callers_and_the_internet_is_not() -> None:
    words = default_of("FORWARDED_ALLOW_IPS").split(",")
    believed = [ipaddress.IPv4Network(word) for word in words]
    assert all(network.is_private for network in believed)
    for network in DOCKER_NETWORKS:
        assert any(network.subnet_of(each) for each in believed), network
    assert [name for name in OURS if "FORWARDED_ALLOW_IPS" in OURS[name]["environment"]] == ["web"]
    # Caddy tells the caller's own address, and not what the caller says of itself.
    assert "trusted_proxies" not in CADDYFILE


@pytest.mark.parametrize(
    ("variable", "service"),
    [("WEB_UPSTREAM", "web"), ("FLOWER_UPSTREAM", "flower"), ("S3_UPSTREAM", "s3")],
)
def test_the_proxy_s_upstreams_are_services(variable: str, service: str) -> None:
    assert re.search(rf"\{{\${variable}:{service}:\d+\}}", CADDYFILE)
    assert service in SERVICES


def test_the_proxy_has_no_idle_connection_to_a_web_that_has_drained() -> None:
    kept = re.search(r"keepalive (\d+)s", CADDYFILE)
    assert kept
    assert int(kept[1]) < Settings.model_fields["web_drain_seconds"].default
    # An upstream for each address: a retry would have lost the body of the request.
    assert "dynamic" not in CADDYFILE


# Prometheus


def test_prometheus_asks_every_process_of_ours_where_it_answers() -> None:
    jobs = {job["job_name"]: job for job in PROMETHEUS["scrape_configs"]}
    asked: dict[str, int] = {}
    for job in jobs.values():
        for found in job.get("dns_sd_configs", []):
            asked |= dict.fromkeys(found["names"], found["port"])
    metrics = int(default_of("MILLRACE_METRICS_PORT"))
    assert asked == {"web": 8000, "dispatcher": metrics, **dict.fromkeys(WORKERS, metrics)}
    assert SERVICES["dispatcher"]["environment"]["MILLRACE_METRICS_HOST"] == "0.0.0.0"  # noqa: S104
    for name in ("rabbitmq", "rabbitmq-queues"):
        assert jobs[name]["static_configs"] == [{"targets": ["rabbitmq:15692"]}]
    assert "rabbitmq_prometheus" in text("infra/compose/enabled_plugins")


def test_prometheus_has_its_rules_and_its_alertmanager() -> None:
    folder = "/etc/prometheus"
    mounted = {mount.split(":")[1] for mount in SERVICES["prometheus"]["volumes"]}
    assert {f"{folder}/{name}" for name in PROMETHEUS["rule_files"]} <= mounted
    (manager,) = PROMETHEUS["alerting"]["alertmanagers"]
    (target,) = manager["static_configs"][0]["targets"]
    assert target.split(":")[0] in SERVICES
    assert SERVICES["alertmanager"]["profiles"] == SERVICES["prometheus"]["profiles"]


# The broker and the pooler


def test_the_broker_has_the_plugin_of_affinity() -> None:
    assert affinity.PLUGIN in text("infra/compose/enabled_plugins")


def test_the_pooler_is_configured_for_the_product() -> None:
    service = SERVICES["pgbouncer"]
    ini = configparser.ConfigParser()
    ini.read_string(text("infra/compose/pgbouncer.ini"))
    pooler = ini["pgbouncer"]
    url = re.sub(r"\$\{.*?\}", "x", SERVICES["web"]["environment"]["MILLRACE_DATABASE_URL"])
    database = urlsplit(url)
    assert ini["databases"][database.path.removeprefix("/")] == "host=postgres port=5432"
    assert pooler["pool_mode"] == "transaction"
    assert pooler["auth_file"] == service["configs"][0]["target"]
    listening = f":{int(pooler['listen_port']):04X} "
    assert listening in service["healthcheck"]["test"][1]
    users = COMPOSE["configs"][service["configs"][0]["source"]]["content"]
    assert users.strip() == f'"{database.username}" "${{POSTGRES_PASSWORD}}"'
    pages = text("docs/pgbouncer.md")
    assert f"MILLRACE_POOLER_CONNECTIONS={pooler['default_pool_size']}" in pages
    assert f"DATABASE_ADDRESS=pgbouncer:{pooler['listen_port']}" in pages


# What tries it out, and what is told about it


def test_the_guide_names_every_variable() -> None:
    missing = [name for name, _, _ in example() if f"`{name}`" not in GUIDE]
    assert not missing


def test_every_profile_is_in_the_guide() -> None:
    profiles = {profile for each in SERVICES.values() for profile in each.get("profiles", [])}
    missing = {name for name in profiles if f"`{name}`" not in GUIDE}
    assert not missing


def test_the_smoke_test_knows_every_service_of_ours_and_every_port() -> None:
    assert set(stack.OURS) == set(OURS) - ONCE
    assert set(stack.WORKERS) == set(WORKERS)
    published = set(re.findall(r"\$\{([A-Z]+)_PORT:-", text("docker-compose.yml")))
    assert published == {"WEB", *stack.PAGES}


def test_the_smoke_test_is_run_by_the_name_that_the_guide_says() -> None:
    assert f"python3 -m {Stack.__module__.rpartition('.')[0]}" in GUIDE
    assert (ROOT / "infra" / "compose" / "smoke" / "__main__.py").exists()


def test_two_excel_files_of_a_million_rows_fit_into_what_their_worker_has() -> None:
    low = SERVICES["worker-low"]
    (size,) = (int(found) for found in re.findall(r"size=(\d+)m", " ".join(low["tmpfs"])))
    children = Settings.model_fields["worker_concurrency"].default
    assert size * 2**20 >= children * ROWS_OF_A_SHEET * BYTES_OF_A_ROW
    # It is in memory, and so are the children.
    others = int(SERVICES["worker-default"]["mem_limit"].removesuffix("m"))
    assert int(low["mem_limit"].removesuffix("m")) >= size + 2 * others


def test_the_guide_says_how_much_memory_the_limits_add_up_to() -> None:
    always = [
        each["mem_limit"]
        for name, each in SERVICES.items()
        if "profiles" not in each and name not in ONCE
    ]
    in_mib = [int(limit[:-1]) * {"m": 1, "g": 1024}[limit[-1]] for limit in always]
    assert f"{sum(in_mib) / 1024:.1f} GB at most" in GUIDE


def test_a_backup_s_bytes_are_not_written_to_a_container_s_log() -> None:
    """What a container that is run writes to standard output is logged."""
    runs = re.findall(r"^    docker compose run .*$", GUIDE, re.MULTILINE)
    assert any("tar" in run for run in runs)
    assert not [run for run in runs if "tar" in run and (" > " in run or " -cf - " in run)]


# How many of each


@pytest.mark.parametrize("name", sorted({*WORKERS, "web", "dispatcher"}))
def test_how_many_run_is_a_setting_so_that_the_next_up_keeps_it(name: str) -> None:
    assert SERVICES[name]["scale"] == f"${{{stack.replicas_of(name)}:-1}}"


def test_no_page_scales_a_service_without_naming_it_alone() -> None:
    """`up` without a name brings all others back to what .env says."""
    scaled = 0
    for page in [*ROOT.glob("docs/*.md"), *ROOT.glob("docs/runbooks/*.md"), ROOT / "README.md"]:
        for service, rest in re.findall(
            r"docker compose .*?--scale ([a-z-]+)=\d+(.*?)(?:`|$)", page.read_text(), re.MULTILINE
        ):
            scaled += 1
            assert rest.split() == [service], page
    assert scaled
