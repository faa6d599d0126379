"""RabbitMQ and PostgreSQL: restarted, killed, and closing connections from their side."""

import os
import re
import subprocess
import time

from infra.local.rabbitmq import VHOST
from infra.local.rabbitmq_binaries import server as rabbitmq_server
from tests.chaos.faults.processes import BACK_SECONDS, NothingToStrike
from tests.chaos.journal import Blow
from tests.chaos.stage import Stage
from tests.chaos.timetable import Fault

_CLOSED = re.compile(r"Closed (\d+) connections?")
_TERMINATE = """
    SELECT count(pg_terminate_backend(pid))
    FROM (SELECT pid FROM pg_stat_activity WHERE application_name = %s
          ORDER BY random() LIMIT 1 + (random() * 3)::int) AS chosen
"""


def restart(stage: Stage, fault: Fault) -> Blow:
    """Stopped in order and started again: the fault lasts until it is back."""
    began = time.time()
    stage.system.restart_program(fault.target)
    return Blow(fault=fault, began=began, ended=time.time())


def kill(stage: Stage, fault: Fault) -> Blow:
    """kill -9 with all its children: the fault lasts until it is back."""
    began = time.time()
    old = stage.system.kill_program(fault.target)
    stage.system.wait_ready(fault.target, not_pid=old, seconds=BACK_SECONDS)
    return Blow(fault=fault, began=began, ended=time.time())


def close_connections(stage: Stage, fault: Fault) -> Blow:
    """The broker closes every connection, as it does when an operator or a policy wants it."""
    began = time.time()
    command = [
        str(rabbitmq_server().with_name("rabbitmqctl")),
        *("close_all_connections", "--vhost", VHOST, "chaos"),
    ]
    said = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, **stage.system.rabbitmq.cli_environment()},
    ).stdout
    closed = _CLOSED.search(said)
    if closed is None or int(closed[1]) == 0:
        raise NothingToStrike(f"no connection was closed: {said.strip()}")
    return Blow(fault=fault, began=began, ended=time.time())


def terminate_backends(stage: Stage, fault: Fault) -> Blow:
    """Some of one program's sessions end in the middle of whatever they do."""
    began = time.time()
    with stage.superuser() as connection:
        row = connection.execute(_TERMINATE, [fault.target]).fetchone()
    if row is None or not row[0]:
        raise NothingToStrike(f"{fault.target} has no session")
    return Blow(fault=fault, began=began, ended=time.time())
