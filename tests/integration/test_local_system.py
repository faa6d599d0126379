"""The local system leaves no process behind, however it ends, and its data outlives it.

The launchers here are processes of their own, as `make up` is, with the two servers that start fastest.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from infra.local.errors import AlreadyRunning, ProgramFailed
from infra.local.layout import ROOT
from infra.local.leftovers import find_processes
from infra.local.program import Program
from infra.local.system import ALL, LocalSystem
from infra.local.waiting import until
from infra.local.workers import PROCESSES

pytestmark = pytest.mark.long

FEW = ("s3", "smtp")
_LAUNCHER = """
import signal, sys, threading
from pathlib import Path
from infra.local.system import LocalSystem
stopped = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopped.set())
signal.signal(signal.SIGINT, lambda *_: stopped.set())
with LocalSystem(Path(sys.argv[1]), programs=("s3", "smtp")) as system:
    print("ready", flush=True)
    system.watch(stopped)
"""


@contextmanager
def _launched(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A launcher in a process of its own, ready; killed at the end if it still runs."""
    words = [sys.executable, "-c", _LAUNCHER, str(home)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as launcher:
        try:
            assert launcher.stdout is not None
            assert launcher.stdout.readline() == "ready\n"
            yield launcher
        finally:
            if launcher.poll() is None:
                launcher.kill()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """For what a system that runs can show without being hurt."""
    home = tmp_path_factory.mktemp("running")
    with LocalSystem(home, programs=(*FEW, "postgres")) as system:
        yield system


def _nothing_left(home: Path) -> bool:
    return until(lambda: not find_processes(home), seconds=30)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_the_launcher_ends_nothing_is_left(tmp_path: Path, how: signal.Signals) -> None:
    with _launched(tmp_path) as launcher:
        assert len(find_processes(tmp_path)) >= len(FEW)
        launcher.send_signal(how)
        launcher.wait(timeout=30)
        assert _nothing_left(tmp_path)


def test_the_next_start_ends_what_a_crash_of_launcher_and_manager_left(tmp_path: Path) -> None:
    with _launched(tmp_path) as launcher:
        managers = [p for p in psutil.Process(launcher.pid).children() if p.is_running()]
        launcher.kill()
        for manager in managers:
            manager.kill()
        launcher.wait(timeout=30)
        assert find_processes(tmp_path), "the crash left nothing, so this test shows nothing"
    with LocalSystem(tmp_path, programs=FEW) as system:
        assert httpx.get(system.object_store.url).status_code < 500
    assert _nothing_left(tmp_path)


def test_a_failed_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    def broken(_: LocalSystem) -> list[Program]:
        words = [sys.executable, "-c", "raise SystemExit('no such thing')"]
        return [Program(name="broken", command=words, environment={}, ready=lambda: False)]

    system = LocalSystem(tmp_path, programs=FEW, extra=broken)
    with pytest.raises(ProgramFailed, match="broken"):
        system.start()
    assert _nothing_left(tmp_path)


@pytest.mark.parametrize(("programs", "plan"), [(ALL, PROCESSES), (FEW, None)])
def test_the_plan_of_connections_has_the_workers_that_it_runs(
    tmp_path: Path, programs: Sequence[str], plan: str | None
) -> None:
    system = LocalSystem(tmp_path, programs=programs)
    system.layout.create()
    assert system.settings.get("MILLRACE_PROCESSES") == plan


def test_a_second_start_in_the_same_home_is_refused_and_harms_nothing(
    running: LocalSystem,
) -> None:
    pid = running.pid("s3")
    with pytest.raises(AlreadyRunning):
        LocalSystem(running.layout.home, programs=FEW).start()
    assert running.pid("s3") == pid


def test_two_homes_run_at_once_and_a_port_in_use_is_not_an_error(
    running: LocalSystem, tmp_path: Path
) -> None:
    before = LocalSystem(tmp_path, programs=FEW)
    before.layout.create()
    taken = before.ports["s3"]
    with (
        socket.create_server(("127.0.0.1", taken)),
        LocalSystem(tmp_path, programs=FEW) as other,
    ):
        assert other.ports["s3"] not in {taken, running.ports["s3"]}
        assert httpx.get(running.object_store.url).status_code < 500
        assert httpx.get(other.object_store.url).status_code < 500


def test_data_survives_a_restart_and_a_kill(tmp_path: Path) -> None:
    programs = ("postgres",)
    with LocalSystem(tmp_path, programs=programs) as system:
        with psycopg.connect(system.postgres.url()) as database:
            database.execute("CREATE TABLE kept (word text)")
            database.execute("INSERT INTO kept VALUES ('still here')")
        old = system.kill_program("postgres")
        system.wait_ready("postgres", not_pid=old)
    with (
        LocalSystem(tmp_path, programs=programs) as system,
        psycopg.connect(system.postgres.url()) as database,
    ):
        assert database.execute("SELECT word FROM kept").fetchall() == [("still here",)]


def test_secrets_are_for_the_owner_alone(running: LocalSystem) -> None:
    home = running.layout.home
    secrets = [path for path in home.rglob("*.json") if "credentials" in path.name]
    assert secrets
    assert all(path.stat().st_mode & 0o077 == 0 for path in secrets)


def test_servers_listen_on_loopback_only(running: LocalSystem) -> None:
    ours = {process.pid for process in find_processes(running.layout.home)} | {os.getpid()}
    listening = [
        connection
        for pid in ours
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert {connection.laddr[0] for connection in listening} <= {"127.0.0.1", "::1"}
