"""supervisord as our process manager: its configuration, its process, and its control socket."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault

from infra.local.control import connect
from infra.local.errors import ProgramFailed
from infra.local.layout import ROOT, Layout
from infra.local.private_file import write_private
from infra.local.program import MARKER, Program
from infra.local.waiting import until

NOT_RUNNING, ALREADY_STARTED = 70, 60

FOREIGN = (
    "PYTHONDONTWRITEBYTECODE",
    "RABBITMQ_",
    "RCLONE_",
    "ERL_",
    "PG",
    "CELERY_",
    "FLOWER_",
    "SUPERVISOR_",
)
"""Variables of the developer's shell that would change what our processes do, or slow it."""


class Supervision:
    """One supervisord. It restarts what dies at once, and stops with the process that began it."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: dict[str, str] = {}

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def begin(self, programs: Iterable[Program]) -> None:
        """Start supervisord, with no program started yet. Raises ProgramFailed."""
        chosen = list(programs)
        self._groups = {program.name: _group(program) for program in chosen}
        config = self._layout.run / "supervisord.conf"
        write_private(config, configuration(self._layout, chosen))
        environments = self._layout.run / "environments.json"
        write_private(environments, json.dumps({one.name: _variables(one) for one in chosen}))
        self._layout.supervisor_socket.unlink(missing_ok=True)
        with self._layout.log_of("supervisord").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "infra.local.manager", str(config), str(environments)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=_environment(self._layout.home),
                start_new_session=True,  # Ctrl-C is for the launcher, which stops us in order
            )
        if not until(self._answers, seconds=20) or not self.alive:
            raise ProgramFailed("supervisord", "did not start", tail(self._layout, "supervisord"))

    def end(self, *, seconds: float = 75) -> None:
        """Stop every program, then supervisord; kill it when it takes longer than `seconds`."""
        if self._process is None:
            return
        if self.alive:
            self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()
        self._process = None

    def start(self, name: str) -> None:
        try:
            self._call("startProcess", self._full(name), False)
        except Fault as fault:
            if fault.faultCode != ALREADY_STARTED:
                raise ProgramFailed(name, fault.faultString, tail(self._layout, name)) from fault

    def stop(self, name: str) -> None:
        """Returns when the program has ended."""
        try:
            self._call("stopProcess", self._full(name), True)
        except Fault as fault:
            if fault.faultCode != NOT_RUNNING:
                raise ProgramFailed(name, fault.faultString, tail(self._layout, name)) from fault

    def info(self, name: str) -> dict[str, Any]:
        """supervisord's view: `statename`, `pid` (0 when not running), `spawnerr` and more."""
        answer: dict[str, Any] = self._call("getProcessInfo", self._full(name))
        return answer

    def pid_of(self, name: str) -> int | None:
        info = self.info(name)
        return int(info["pid"]) or None

    def _full(self, name: str) -> str:
        return f"{self._groups[name]}:{name}"

    def _answers(self) -> bool:
        if not self.alive:
            return True
        try:
            self._call("getState")
        except OSError:
            return False
        return True

    def _call(self, method: str, *arguments: object) -> Any:
        with connect(self._layout.supervisor_socket) as server:
            return getattr(server.supervisor, method)(*arguments)


def tail(layout: Layout, name: str, *, lines: int = 25) -> str:
    """The last lines of a program's log; empty when there is none."""
    path = layout.log_of(name)
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64_000))
        text = file.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])


def configuration(layout: Layout, programs: Iterable[Program]) -> str:
    """supervisord's configuration file. Servers are a group of their own, stopped last."""
    chosen = list(programs)
    user = "user=root\n" if os.geteuid() == 0 else ""
    sections = [
        f"[supervisord]\nnodaemon=true\n{user}"
        f"logfile={_quote(str(layout.run / 'supervisord.log'))}\nlogfile_backups=0\n"
        f"pidfile={_quote(str(layout.run / 'supervisord.pid'))}\n",
        f"[unix_http_server]\nfile={_quote(str(layout.supervisor_socket))}\nchmod=0600\n",
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n",
    ]
    for priority, group in ((1, "servers"), (2, "product")):
        members = ",".join(program.name for program in chosen if _group(program) == group)
        if members:
            sections.append(f"[group:{group}]\nprograms={members}\npriority={priority}\n")
    sections.extend(_section(layout, program) for program in chosen)
    return "\n".join(sections)


def _section(layout: Layout, program: Program) -> str:
    options = {
        "command": _quote(shlex.join(program.command)),
        "directory": _quote(str(program.directory)),
        "autostart": "false",
        "autorestart": "true",
        "startsecs": "0",  # a program that dies young is restarted at once as well
        "stopsignal": program.stop_signal,
        "stopwaitsecs": str(int(program.stop_seconds)),
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": _quote(str(layout.log_of(program.name))),
        "stdout_logfile_maxbytes": "20MB",
        "stdout_logfile_backups": "1",
    }
    lines = [f"{key}={value}" for key, value in options.items()]
    return "\n".join([f"[program:{program.name}]", *lines, ""])


def _group(program: Program) -> str:
    return "servers" if program.server else "product"


def _quote(text: str) -> str:
    """supervisord expands % and takes " ;" for a comment, wherever they stand."""
    if "\n" in text or " ;" in text:
        raise ValueError(f"supervisord cannot take this value: {text!r}")
    return text.replace("%", "%%")


def _variables(program: Program) -> dict[str, str]:
    return {"SUPERVISED": program.name, **program.environment}


def _environment(home: Path) -> Mapping[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    return {**kept, MARKER: str(home)}
