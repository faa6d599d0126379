"""`millrace doctor` and a deployment's faults, each one real: found, and said what to change."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

import amqp
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine

from app.broker.publisher import connect
from app.broker.topology import QUEUES, QueueSpec
from app.broker.topology import declare as declare_all
from app.settings import Settings
from app.storage import Storage
from tests.support.commands import Run, Said
from tests.support.customers import Customer
from tests.support.jobs import count
from tests.support.queues import Queues
from tests.support.servers import Servers

Checks = dict[str, dict[str, str]]


def look(run: Run, *words: str) -> tuple[Said, Checks]:
    """Check -> its worst finding."""
    said = run("doctor", "--json", *words)
    assert said.out, said.err
    report = json.loads(said.out)
    assert said.status == (1 if report["status"] == "failed" else 0)
    assert report["seconds"] < 10
    found: Checks = {}
    order = {"failed": 0, "warning": 1, "ok": 2}
    for check in sorted(report["checks"], key=lambda one: order[one["status"]]):
        found.setdefault(check["check"], check)
        assert check["status"] == "ok" or check["change"], "says what to change"
    return said, found


@contextmanager
def channel(settings: Settings) -> Iterator[amqp.Channel]:
    connection = connect(settings, heartbeat=0)
    try:
        yield connection.channel()
    finally:
        connection.close()


@contextmanager
def superuser(servers: Servers, database: str) -> Iterator[psycopg.Connection]:
    url = servers.system.postgres.url(database=database, user="postgres")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def test_a_sound_deployment_passes_and_nothing_is_changed(
    run: Run, storage: Storage, queues: Queues, engine: Engine, tenant: Customer
) -> None:
    said, found = look(run)
    assert said.status == 0, said.out
    wrong = {name: each["found"] for name, each in found.items() if each["status"] != "ok"}
    # What tests do without, and what is so on every laptop.
    assert set(wrong) <= {"postgresql.durability", "settings.metrics", "settings.outbound"}, wrong
    looked_at = {
        *("versions.python", "versions.packages"),
        *("postgresql.reach", "postgresql.version", "postgresql.migrations", "postgresql.rights"),
        *("postgresql.clock", "postgresql.connections", "rabbitmq.reach", "rabbitmq.version"),
        *("rabbitmq.topology", "rabbitmq.rights", "rabbitmq.alarms", "rabbitmq.management"),
        *("s3.reach", "s3.clock", "s3.lifecycle", "smtp.reach"),
    }
    assert looked_at <= set(found)
    assert (storage.keys(), count(engine, "jobs"), count(engine, "mails")) == ([], 0, 0)
    written = look(run, "--write")[1]
    assert written["s3.write"]["status"] == "ok"
    assert storage.keys() == []
    words = run("doctor").out
    assert "ok       rabbitmq.topology" in words
    assert "-> Set MILLRACE_BROKER_MANAGEMENT_URL" in words


def test_servers_that_are_away_or_say_nothing_are_named_in_time(
    run: Run, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        for port in (1, mute.getsockname()[1]):
            at = f"127.0.0.1:{port}"
            for name, value in {
                "DATABASE_URL": f"postgresql://millrace:secret-word@{at}/millrace",
                "BROKER_URL": f"amqp://millrace:secret-word@{at}/millrace",
                "S3_ENDPOINT_URL": f"http://{at}",
                "SMTP_HOST": "127.0.0.1",
                "SMTP_PORT": str(port),
            }.items():
                monkeypatch.setenv(f"MILLRACE_{name}", value)
            said, found = look(run)
            assert said.status == 1
            for server in ("postgresql", "rabbitmq", "s3", "smtp"):
                worst = found.get(f"{server}.reach") or found[server]
                assert worst["status"] == "failed", server
            assert "secret-word" not in said.out + said.err


def test_a_url_that_cant_be_read_is_named_without_its_password(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLRACE_DATABASE_URL", "psql secret-word")
    said, found = look(run)
    assert found["postgresql.reach"]["status"] == "failed"
    assert "secret-word" not in said.out
    monkeypatch.delenv("MILLRACE_DATABASE_URL")
    said, found = look(run)
    assert "MILLRACE_DATABASE_URL" in found["settings"]["found"]


@pytest.mark.parametrize(
    ("at", "says"),
    [("0001", "millrace migrate"), ("9999", "Deploy the release"), (None, "migrate")],
)
def test_a_schema_of_another_release(run: Run, engine: Engine, at: str | None, says: str) -> None:
    with engine.begin() as tx:
        if at is None:
            tx.exec_driver_sql("DROP TABLE alembic_version")
        else:
            tx.exec_driver_sql("UPDATE alembic_version SET version_num = %s", (at,))
    found = look(run)[1]["postgresql.migrations"]
    assert (found["status"], says in found["change"]) == ("failed", True)


def test_a_role_without_rights_and_with_few_connections(
    run: Run,
    servers: Servers,
    database: str,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    role = f"weak_{uuid4().hex[:8]}"
    with superuser(servers, database) as connection:
        name = sql.Identifier(role)
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'f8s7dfs' CONNECTION LIMIT 20").format(name)
        )
        connection.execute(
            sql.SQL(
                "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {}"
            ).format(name)
        )
        connection.execute(sql.SQL("REVOKE DELETE ON outbox FROM {}").format(name))
        port = servers.system.postgres.port
        monkeypatch.setenv(
            "MILLRACE_DATABASE_URL", f"postgresql://{role}:f8s7dfs@127.0.0.1:{port}/{database}"
        )
        try:
            found = look(run)[1]
        finally:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(name))
            connection.execute(sql.SQL("DROP ROLE {}").format(name))
    assert "outbox" in found["postgresql.rights"]["found"]
    assert "GRANT" in found["postgresql.rights"]["change"]
    assert found["postgresql.connections"]["status"] == "failed"
    assert "it has 20 for this role" in found["postgresql.connections"]["found"]


def test_a_topology_that_is_another(run: Run, settings: Settings, queues: Queues) -> None:
    with channel(settings) as made:
        made.queue_delete("low")
        made.queue_delete("high")
        low = next(queue for queue in QUEUES if queue.name == "low")
        try:
            wrong = {**low.arguments, "x-overflow": "drop-head"}
            del wrong["x-dead-letter-strategy"]
            made.queue_declare("low", durable=True, auto_delete=False, arguments=wrong)
            said = run("doctor")
        finally:
            made.queue_delete("low")
            with channel(settings) as fresh:
                declare_all(fresh)
    assert said.status == 1
    assert "high isn't there" in said.out
    assert "`millrace topology declare`" in said.out
    assert "inequivalent arg 'x-" in said.out
    assert "for queue 'low'" in said.out
    with channel(settings) as after:
        # The doctor didn't declare what was missing: it came with `declare_all`.
        assert after.queue_declare("high", passive=True) is not None


def test_what_is_missing_stays_missing(run: Run, settings: Settings, queues: Queues) -> None:
    spec: QueueSpec = next(queue for queue in QUEUES if queue.name == "high")
    try:
        with channel(settings) as made:
            made.queue_delete(spec.name)
        assert look(run)[1]["rabbitmq.topology"]["status"] == "failed"
        with channel(settings) as made, pytest.raises(amqp.NotFound):
            made.queue_declare(spec.name, passive=True)
    finally:
        with channel(settings) as made:
            declare_all(made)


def test_a_broker_that_refuses(
    run: Run, servers: Servers, settings: Settings, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rights, an alarm, a limit: as an operator would have set them."""
    with suppress(Exception):
        servers.rabbitmqctl("add_user", "weak", "dfs7f8s")
    servers.rabbitmqctl("set_permissions", "-p", "millrace", "weak", "^(default|dead)$", "", ".*")
    ours = settings.broker_url.get_secret_value()
    weak = f"amqp://weak:dfs7f8s@{ours.partition('@')[2]}"
    monkeypatch.setenv("MILLRACE_BROKER_URL", weak)
    said = run("doctor")
    assert "declaring: ACCESS_REFUSED" in said.out
    assert "access to queue 'high' in vhost 'millrace' refused" in said.out
    assert "publishing: ACCESS_REFUSED" in said.out
    assert "rabbitmqctl set_permissions" in said.out
    monkeypatch.setenv("MILLRACE_BROKER_URL", weak.replace("dfs7f8s", "wrong-word"))
    said, found = look(run)
    assert "user and password" in found["rabbitmq.reach"]["change"]
    assert "wrong-word" not in said.out
    monkeypatch.setenv("MILLRACE_BROKER_URL", weak.replace("/millrace", "/elsewhere"))
    assert "add_vhost" in look(run)[1]["rabbitmq.reach"]["change"]
    monkeypatch.setenv("MILLRACE_BROKER_URL", ours)
    try:
        servers.rabbitmqctl("set_vm_memory_high_watermark", "0.000001")
        alarms = look(run)[1].get("rabbitmq.alarms")
        servers.rabbitmqctl("set_vhost_limits", "-p", "millrace", '{"max-connections": 0}')
        limit = look(run)[1]["rabbitmq.reach"]
    finally:
        servers.rabbitmqctl("set_vm_memory_high_watermark", "0.6")
        servers.rabbitmqctl("clear_vhost_limits", "-p", "millrace")
    assert alarms is not None
    assert (alarms["status"], "takes no messages" in alarms["found"]) == ("failed", True)
    assert "Raise the limit" in limit["change"]


def test_an_object_store_that_refuses(
    run: Run, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLRACE_S3_BUCKET", "no-such-bucket")
    assert "millrace storage init" in look(run)[1]["s3.reach"]["change"]
    monkeypatch.setenv("MILLRACE_S3_BUCKET", storage.bucket)
    monkeypatch.setenv("MILLRACE_S3_SECRET_ACCESS_KEY", "secret-word")
    said, found = look(run)
    assert "MILLRACE_S3_ACCESS_KEY_ID" in found["s3.reach"]["change"]
    assert "secret-word" not in said.out


def test_an_environment_of_another_project(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MILLRACE_")]:
        monkeypatch.delenv(name)
    began = time.monotonic()
    said, found = look(run)
    assert said.status == 1
    assert "MILLRACE_BROKER_URL" in found["settings"]["found"]
    assert time.monotonic() - began < 5
