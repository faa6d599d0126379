"""The product's real processes, each started as in production, on the test's own database."""

import os
import subprocess
from pathlib import Path
from typing import Self

from infra.local.layout import ROOT
from infra.local.product import Product
from infra.local.program import MARKER, Program
from infra.local.waiting import until
from tests.support.servers import Servers


class Processes:
    """Starts them and waits until they are ready. Use it as a context manager, or `close` it whatever
    happens: a worker that is left over takes the messages of the tests after.
    """

    def __init__(self, servers: Servers, environment: dict[str, str], logs: Path) -> None:
        self._servers = servers
        self._environment = environment
        self._logs = logs
        self._started: list[subprocess.Popen[bytes]] = []
        self._product = Product(
            layout=servers.system.layout,
            settings=environment,
            web_port=0,
            flower_port=0,
            flower_password="unused",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def dispatcher(self) -> subprocess.Popen[bytes]:
        (program,) = [one for one in self._product.programs() if one.name == "dispatcher"]
        return self.start(program)

    def worker(
        self, *queues: str, concurrency: int = 1, app: str = "workers.celery_app"
    ) -> subprocess.Popen[bytes]:
        """One on all of these queues, named after the first of them."""
        program = self._product.worker(f"worker-{queues[0]}", ",".join(queues), concurrency)
        return self.start(program, replace={"workers.celery_app": app})

    def start(
        self, program: Program, *, replace: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Returns when the program is ready; fails with its log when it isn't in time."""
        if program.before_start:
            program.before_start()
        command = [(replace or {}).get(word, word) for word in program.command]
        log = self._logs / f"{program.name}.log"
        environment = {
            **os.environ,
            **program.environment,
            MARKER: str(self._servers.system.layout.home),
            "PYTHONPATH": str(ROOT),
        }
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, env=environment, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT
            )
        self._started.append(process)
        ready = until(lambda: program.ready() or process.poll() is not None, seconds=90)
        assert ready, f"{program.name} isn't ready:\n{log.read_text()[-4000:]}"
        assert process.poll() is None, f"{program.name} ended:\n{log.read_text()[-4000:]}"
        return process

    def log(self, name: str) -> str:
        return (self._logs / f"{name}.log").read_text()

    def close(self) -> None:
        for process in self._started:
            process.terminate()
        for process in self._started:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
