"""The Celery application, its settings, and what its workers do when they start."""

import logging
import sys
from typing import Any

from billiard.util import get_logger as billiard_logger
from celery import Celery
from celery.signals import setup_logging, worker_init
from kombu import Exchange, Queue

from app.broker import topology
from app.broker.publisher import heartbeat_of
from app.jobs import CATALOG
from app.logs import configure_logging
from app.server_limits import check_at_start
from app.settings import Settings, get_settings
from workers import handlers, tasks  # noqa: F401 - registers every handler, and every plain task
from workers.runtime import process
from workers.runtime.events import BatchedEvents
from workers.runtime.plain import check_names
from workers.runtime.task import register_task, runtime, say_goodbye


def make_celery(settings: Settings) -> Celery:
    """The application, configured from `settings` alone."""
    broker = settings.broker_url.get_secret_value()
    base = "workers.runtime.plain:PlainTask"
    celery = Celery("millrace", broker=broker, set_as_current=True, task_cls=base)
    celery.conf.update(
        # Queues: declared here exactly as the topology says, and no others.
        task_queues=_queues(),
        task_default_queue=topology.Queue.DEFAULT.value,
        task_default_exchange=topology.EXCHANGE,
        task_default_exchange_type="topic",
        task_default_routing_key=topology.Queue.DEFAULT.value,
        task_create_missing_queues=False,
        # Messages: JSON in, nothing out. The ledger is the record, there is no result backend.
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        broker_transport_options={"confirm_publish": True, "confirm_timeout": 15},
        # Delivery: acknowledge when the job is settled; a lost child or a hard time-out gives the
        # message back, and the ledger counts the attempt.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_acks_on_timeout=False,
        # What raises nonetheless got a message that it can't read: a dead letter, and not a lost one.
        task_acks_on_failure=False,
        worker_prefetch_multiplier=settings.worker_takes,
        # Children: recycled by count and by size, between jobs.
        worker_concurrency=settings.worker_concurrency,
        worker_max_tasks_per_child=settings.worker_max_tasks_per_child,
        worker_max_memory_per_child=settings.worker_max_memory_per_child_kib,
        # Connection: wait for the broker for ever; notice a dead one after two heartbeats.
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_heartbeat=heartbeat_of(settings),
        # Ours: see workers/runtime/consumer.py.
        worker_consumer="workers.runtime.consumer:Consumer",
        # With `--autoscale=MAX,MIN`, and not without it.
        worker_autoscaler="workers.runtime.autoscaling:LagAutoscaler",
        # Events of tasks are for Flower to ask for: they cost every job.
        worker_send_task_events=False,
        timezone="UTC",
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    for contract in CATALOG.values():
        register_task(celery, contract)
    check_names(set(celery.tasks) - set(CATALOG))
    process.install(celery, settings, before_exit=say_goodbye)
    celery.steps["consumer"].add(BatchedEvents)
    return celery


def read_command_line() -> None:
    """As workers.runtime.command_line does; where nobody has typed a command, its parts aren't even imported."""
    if "celery.bin.worker" in sys.modules:
        from workers.runtime import command_line

        command_line.install([queue.name for queue in _queues()])


def _queues() -> list[Queue]:
    return [
        Queue(
            spec.name,
            Exchange(spec.exchange, type="topic", durable=True),
            routing_key=spec.routing_key,
            queue_arguments=dict(spec.arguments),
        )
        for spec in topology.QUEUES
        if spec.exchange == topology.EXCHANGE
    ]


@setup_logging.connect
def _setup_logging(**_: object) -> None:
    configure_logging(get_settings())
    # "Task received", "Task succeeded": the runtime's own line says more, once. What a task raised is in
    # the ledger or the dead letters; the sentence of it may quote what the task was given.
    logging.getLogger("celery.worker.strategy").setLevel(logging.WARNING)
    logging.getLogger("celery.app.trace").setLevel(logging.CRITICAL)
    # Children that end as they shouldn't; billiard keeps its lines to itself, and Python would then write the bare sentence.
    children = billiard_logger()
    children.setLevel(logging.WARNING)
    children.propagate = True


@worker_init.connect
def _make_runtime(sender: Any = None, **_: object) -> None:
    # Celery does it later, and who reads logs wants a refusal as any other line.
    configure_logging(get_settings())
    # By now Celery knows its --concurrency; what --autoscale allows is refused by the autoscaler.
    children = sender.concurrency if isinstance(sender.concurrency, int) else 0
    pools = sorted(sender.app.amqp.queues.consume_from)
    check_at_start(get_settings(), pool=pools[0], children=children)
    runtime()
