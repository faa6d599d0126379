"""A process doesn't start with a plan of connections that a server can't take; any other trouble stops none."""

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from app.dispatcher import run as run_dispatcher
from app.server_limits import REFUSED, check_at_start
from app.serving import run as run_web
from app.settings import Settings
from infra.local.layout import ROOT

TOO_MANY = {"MILLRACE_PROCESSES": "web=20 dispatcher=2 high=1x2"}
NOWHERE = {"MILLRACE_DATABASE_URL": "postgresql://nobody:nothing@127.0.0.1:1/none"}


def test_web_and_dispatcher_refuse_and_say_what_to_change(
    environment: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = Settings.of({**environment, **TOO_MANY})
    starts: list[Callable[[], None]] = [
        lambda: run_dispatcher(settings),
        lambda: run_web(settings, host="127.0.0.1", port=0),
    ]
    for start in starts:
        with pytest.raises(SystemExit) as refused:
            start()
        assert refused.value.code == REFUSED == 78
        # To the one or the other, by what ran in this process before.
        said = capsys.readouterr().out + caplog.text
        caplog.clear()
        assert "start.refused" in said
        assert "220 of 20 web processes" in said
        assert "Raise max_connections to" in said


def worker(environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    """How a worker ends that was given these options."""
    command = [sys.executable, "-m", "celery", "-A", "workers.celery_app", "worker", *options]
    clean = {name: value for name, value in os.environ.items() if "MILLRACE" not in name}
    return subprocess.run(
        command,
        env={**clean, **environment, "MILLRACE_LOG_JSON": "true"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@pytest.mark.parametrize(
    ("wrong", "options", "says"),
    [
        (TOO_MANY, [], "220 of 20 web processes"),
        ({}, ["--concurrency=40"], "176 of 44 worker children"),
        ({"MILLRACE_PROCESSES": "hihg=1x2"}, [], "no such pool"),
    ],
)
def test_a_worker_refuses(
    environment: dict[str, str], wrong: dict[str, str], options: list[str], says: str
) -> None:
    ended = worker({**environment, **wrong}, "--queues=high", *options)
    said = ended.stdout + ended.stderr
    assert ended.returncode == REFUSED, said
    assert "start.refused" in said
    (line,) = (line for line in said.splitlines() if "start.refused" in line)
    assert says in json.loads(line)["reason"]
    assert "Traceback" not in said


def test_a_server_that_is_away_refuses_nobody(environment: dict[str, str]) -> None:
    check_at_start(Settings.of({**environment, **TOO_MANY, **NOWHERE}))
    away = {"MILLRACE_BROKER_MANAGEMENT_URL": "http://me:word@127.0.0.1:1"}
    check_at_start(Settings.of({**environment, **away}))


@pytest.mark.parametrize(
    ("option", "says"),
    [("--autoscale=a,b", "--autoscale=MAX,MIN"), ("--queues=low,nope", "high, default, low")],
)
def test_a_workers_command_that_is_written_wrong(
    environment: dict[str, str], option: str, says: str
) -> None:
    ended = worker(environment, option)
    assert ended.returncode == 2, ended.stderr
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
