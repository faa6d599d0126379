"""The definitions file is the code's topology, and the topology keeps what correctness rests on."""

import json
import re
from pathlib import Path

import pytest

from app.broker import topology
from app.broker.affinity import Affinity
from app.broker.topology import QUEUES, WORK_QUEUE_ARGUMENTS, Queue, pool_of

DEFINITIONS = Path(__file__).parents[2] / "infra" / "rabbitmq" / "definitions.json"


def test_the_definitions_file_is_what_the_code_declares() -> None:
    assert json.loads(DEFINITIONS.read_text()) == topology.definitions(), (
        "write it again: millrace topology export"
    )


@pytest.mark.parametrize("queue", [queue for queue in QUEUES if queue.name in set(Queue)])
def test_a_work_queue_loses_nothing(queue: topology.QueueSpec) -> None:
    assert queue.arguments == {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": "millrace.dead",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def test_whatever_is_dead_lettered_has_a_queue_to_go_to() -> None:
    (dead,) = [queue for queue in QUEUES if queue.exchange == topology.DEAD_LETTER_EXCHANGE]
    assert dead.routing_key == "#"
    assert dead.arguments == {"x-queue-type": "quorum"}


def policies() -> dict[str, dict[str, int]]:
    """What each queue gets from the policies."""
    found = topology.definitions()["policies"]
    return {
        queue.name: policy["definition"]
        for queue in QUEUES
        for policy in found
        if re.search(policy["pattern"], queue.name)
    }


def test_the_work_queues_are_bounded_by_policy() -> None:
    for queue in Queue:
        assert policies()[queue.value] == {"delivery-limit": 20, "max-length": 10_000}


def test_a_shard_is_bounded_as_its_pool_and_loses_as_little() -> None:
    affinity = Affinity(shards=12, kinds=frozenset({"any"}), pools=tuple(Queue))
    (work,) = [each for each in topology.definitions()["policies"] if each["name"] == "work-queues"]
    assert len(affinity.queues) == 36
    for shard in affinity.queues:
        assert re.search(work["pattern"], shard.name)
        assert shard.arguments == {**WORK_QUEUE_ARGUMENTS, "x-single-active-consumer": True}
        assert pool_of(shard.name) in set(Queue)
    assert pool_of("default.near.x") == "default.near.x"


def test_a_dead_letter_is_never_given_up() -> None:
    """RabbitMQ 4 would drop it after 20 deliveries to a dispatcher that dies each time."""
    assert policies()["dead"] == {"delivery-limit": 1_000_000}
