"""Is somebody there? Sent by `millrace tasks send tasks.probe`, answered in the worker's log."""

import structlog
from celery import shared_task

log = structlog.get_logger()


@shared_task(name="tasks.probe")
def probe(word: str = "hello") -> None:
    """Say that a worker of this queue takes messages. Safe to run twice: it changes nothing."""
    log.info("probe.heard", word=word)
