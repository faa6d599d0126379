"""How each kind of fault strikes. Every strike returns when the fault is over; none of them judges."""

import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import psycopg
from amqp.exceptions import AMQPError

from app.errors import BrokerAway
from infra.local import LocalError
from tests.chaos.faults import messages, network, processes, servers
from tests.chaos.faults.processes import NothingToStrike
from tests.chaos.journal import Blow, Journal
from tests.chaos.stage import Stage
from tests.chaos.timetable import KINDS, Fault

RETRY_SECONDS = 60.0
_STRIKES: Mapping[str, Callable[[Stage, Fault], Blow]] = MappingProxyType(
    {
        "kill web": processes.kill,
        "kill dispatcher": processes.kill,
        "kill worker": processes.kill,
        "kill child": processes.kill_child,
        "stop child": processes.stop_child,
        "stop worker": processes.stop,
        "stop dispatcher": processes.stop,
        "restart rabbitmq": servers.restart,
        "kill rabbitmq": servers.kill,
        "close connections": servers.close_connections,
        "restart postgres": servers.restart,
        "kill postgres": servers.kill,
        "terminate backends": servers.terminate_backends,
        "cut": network.cut,
        "delay": network.delay,
        "half-open": network.half_open,
        "duplicate messages": messages.duplicate,
        "lose messages": messages.lose,
        "dead-letter copies": messages.dead_letter_copies,
        "plant rubbish": messages.plant_rubbish,
        "s3 errors": network.store_errors,
        "s3 slow": network.store_slow,
        "clock off": processes.put_clock_off,
    }
)
if _STRIKES.keys() != KINDS.keys():
    raise ValueError(
        f"kinds without a strike, or strikes without: {_STRIKES.keys() ^ KINDS.keys()}"
    )

_NOT_NOW = (
    NothingToStrike,
    LocalError,
    BrokerAway,
    AMQPError,
    psycopg.Error,
    subprocess.SubprocessError,
    OSError,
)
"""Another fault has the victim down: try again, and soon."""


def strike(stage: Stage, fault: Fault, journal: Journal, *, whole: bool) -> None:
    """Strike, and write it down; a fault that finds no victim for a long time is written down as missed."""
    deadline = time.monotonic() + RETRY_SECONDS
    while True:
        try:
            blow = _STRIKES[fault.kind](stage, fault)
        except _NOT_NOW as reason:
            if time.monotonic() > deadline:
                return journal.miss(fault, f"{type(reason).__name__}: {reason}")
            time.sleep(0.2)
        else:
            return journal.strike(replace(blow, whole=whole))
