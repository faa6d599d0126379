"""Faults in processes and servers."""

import threading
from contextlib import ExitStack, closing, suppress

import amqp
import psycopg

from app.broker.topology import EXCHANGE, VHOST
from infra.local.ports import LOOPBACK
from infra.local.rabbitmq import USER
from tests.incidents.incident import Course, incident
from tests.incidents.jobs import again_and_again, report
from tests.incidents.stage import LOW, Stage

NOTEBOOK = "notebook"
SHARE_TAKEN = 0.9


@incident(
    "a stopped pool",
    page="pool-without-workers",
    alert="MillracePoolWithoutWorkers",
    queue="low",
    also=(("MillraceTargetDown", {"job": "worker"}),),
)
def stopped_pool(stage: Stage) -> Course:
    """The worker of queue low is stopped; five jobs are posted."""
    stage.system.stop_program(LOW)
    with stage.client("acme") as client:
        for _ in range(5):
            report(stage, client)
    yield
    stage.do("docker compose start worker-low")
    yield


@incident("a full disk", page="broker-disk-alarm", alert="MillraceBrokerDiskAlarm")
def full_disk(stage: Stage) -> Course:
    """RabbitMQ is told to want more free disk than there is, and raises its alarm; a job a second is posted."""
    stage.rabbitmqctl("set_disk_free_limit", "100000000000000")
    with again_and_again(stage, "acme", report, seconds=1):
        yield
        stage.do("rabbitmqctl status")
        stage.do("rabbitmqctl list_queues --vhost millrace name messages message_bytes")
        stage.do("rabbitmqctl set_disk_free_limit 50MB")
        yield
    stage.wait_until_idle("low")


@incident(
    "a lost broker",
    page="broker-unreachable",
    alert="MillraceBrokerUnreachable",
    also=(("MillraceDispatcherStopped", {}),),
)
def lost_broker(stage: Stage) -> Course:
    """RabbitMQ is stopped; a job a second is posted."""
    with again_and_again(stage, "acme", report, seconds=1):
        stage.system.stop_program("rabbitmq")
        yield
        stage.do("docker compose start rabbitmq")
        stage.do("rabbitmqctl list_queues --vhost millrace name messages consumers")
        yield
    stage.wait_until_idle("low")


@incident("a slow query", page="long-transaction", alert="MillraceLongTransaction")
def slow_query(stage: Stage) -> Course:
    """A report's query over the jobs' table doesn't come to an end."""
    with closing(stage.database()) as session:
        pid = session.info.backend_pid

        def run() -> None:
            with suppress(psycopg.Error):
                session.execute("SELECT count(*) FROM jobs CROSS JOIN pg_sleep(3600)")

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield
        stage.do(
            'psql -c "SELECT pid, application_name, state, now() - xact_start AS open_for, left(query, 80)'
            ' FROM pg_stat_activity WHERE xact_start IS NOT NULL ORDER BY xact_start LIMIT 5"'
        )
        stage.do('psql -c "SELECT pg_cancel_backend(PID)"', PID=str(pid))
        thread.join(30)
        yield


@incident("no dispatcher", page="dispatcher-stopped", alert="MillraceDispatcherStopped")
def no_dispatcher(stage: Stage) -> Course:
    """The dispatcher is stopped."""
    stage.system.stop_program("dispatcher")
    yield
    stage.do("docker compose start dispatcher")
    yield


@incident(
    "a collector that may not read",
    page="chore-stopped",
    alert="MillraceChoreStopped",
    chore="collector",
)
def collector_locked_out(stage: Stage) -> Course:
    """RabbitMQ's user loses the right to read the queue of dead letters, and everybody has to connect anew."""
    stage.rabbitmqctl(
        "set_permissions", "--vhost", "millrace", "millrace", ".*", ".*", "^(?!dead$).*"
    )
    stage.rabbitmqctl("close_all_connections", "--vhost", "millrace", "permissions changed")
    yield
    stage.do("rabbitmqctl list_user_permissions millrace")
    stage.do("rabbitmqctl set_permissions --vhost millrace millrace .* .* .*")
    yield


@incident("no web", page="api-errors", alert="MillraceApiErrors")
def no_web(stage: Stage) -> Course:
    """The API's process is stopped."""
    stage.system.stop_program("web")
    yield
    stage.do("docker compose start web")
    yield


@incident("a lost database", page="ledger-unreachable", alert="MillraceLedgerUnreachable")
def lost_database(stage: Stage) -> Course:
    """PostgreSQL is stopped."""
    stage.system.stop_program("postgres")
    yield
    stage.do("docker compose start postgres")
    stage.do('psql -c "SELECT count(*), state FROM pg_stat_activity GROUP BY state"')
    yield


@incident("a lost store", page="store-unreachable", alert="MillraceStoreUnreachable")
def lost_store(stage: Stage) -> Course:
    """The object store is stopped; three exports are asked for."""
    stage.system.stop_program("s3")
    with stage.client("acme") as client:
        for _ in range(3):
            order = {"target": "contacts", "format": "csv"}
            client.post("/v1/exports", json=order).raise_for_status()
    yield
    stage.do("millrace jobs list --state scheduled")
    stage.do("docker compose start s3")
    yield


@incident("a lost mail server", page="mail-waits", alert="MillraceMailWaits")
def lost_mail_server(stage: Stage) -> Course:
    """The mail server is stopped; a file is imported, at whose end there is a mail."""
    stage.system.stop_program("smtp")
    with stage.client("acme") as client:
        file = ("people.csv", b"email\nada@example.com\n", "text/csv")
        client.post("/v1/imports", files={"file": file}).raise_for_status()
    yield
    stage.do("millrace incidents list --state open --kind mail")
    stage.do("docker compose start mail", instead=lambda: stage.system.start_program("smtp"))
    stage.do("millrace mail check")
    yield


@incident("a full memory", page="broker-memory-alarm", alert="MillraceBrokerMemoryAlarm")
def full_memory(stage: Stage) -> Course:
    """RabbitMQ is told to use less memory than it does, and raises its alarm."""
    stage.rabbitmqctl("set_vm_memory_high_watermark", "0.00001")
    yield
    stage.do("rabbitmqctl status")
    stage.do("rabbitmqctl set_vm_memory_high_watermark 0.6")
    yield


@incident(
    "a queue without its binding", page="broker-refuses", alert="MillraceBrokerRefuses", queue="low"
)
def lost_binding(stage: Stage) -> Course:
    """Somebody removes the binding of the queue low; a job a second is posted."""
    with amqp.Connection(
        f"{LOOPBACK}:{stage.system.rabbitmq.port}",
        userid=USER,
        password=stage.system.rabbitmq.password,
        virtual_host=VHOST,
    ) as connection:
        connection.channel().queue_unbind("low", EXCHANGE, "low")
    with again_and_again(stage, "acme", report, seconds=1):
        yield
        stage.do("rabbitmqctl list_queues --vhost millrace name messages policy")
        stage.do(
            "rabbitmqctl list_bindings --vhost millrace source_name routing_key destination_name"
        )
        stage.do("millrace topology declare")
        yield
    stage.wait_until_idle("low")


@incident("too many connections", page="postgres-connections", alert="MillracePostgresConnections")
def many_connections(stage: Stage) -> Course:
    """A tool opens connections, and keeps them, until nine tenths are taken."""
    with ExitStack() as opened:
        url = stage.system.postgres.url()
        with stage.database() as tx:
            row = tx.execute(
                "SELECT current_setting('max_connections')::int, count(*) FROM pg_stat_activity"
            ).fetchone()
        most, taken = row or (100, 0)
        for _ in range(int(most * SHARE_TAKEN) - taken):
            opened.enter_context(closing(psycopg.connect(url, application_name=NOTEBOOK)))
        yield
        stage.do(
            'psql -c "SELECT application_name, usename, state, count(*) FROM pg_stat_activity'
            ' GROUP BY 1, 2, 3 ORDER BY 4 DESC"'
        )
        stage.do(
            'psql -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity'
            " WHERE application_name = 'APPLICATION'\"",
            APPLICATION=NOTEBOOK,
        )
        yield
