"""The sides of `bench.peers`: each one's processes, and how work is put in.

Each has two processes that run jobs, as many as ours has children, and each such process runs `slots` jobs at a time:
one, as ours does, or eight, which is what a peer has threads and coroutines for.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import psutil
from sqlalchemy import Engine

from app.ids import new_id
from bench.peers_servers import flush_redis, node, node_packages, redis_port
from bench.throughput import CHILDREN, TAKING, Environment, Ours, Side, put_stock
from bench.throughput_row import INSERT
from infra.local.layout import ROOT
from infra.local.locked import packages
from infra.local.program import MARKER, Program
from infra.local.system import LocalSystem

PYTHON = sys.executable


class OursTogether(Ours):
    """Sixteen to a message, and to a transaction."""

    kind = "InsertRow"


class OursMany(Ours):
    """Sixty-four to a message, and to a transaction."""

    kind = "InsertRowMany"


class OursTaken(Ours):
    """A message each, of which a child takes several at a time."""

    def __init__(self, system: LocalSystem, engine: Engine) -> None:
        super().__init__(system, engine, TAKING)


class OursClaimed(Ours):
    """With a lease, by a claim that is committed before the job begins; for jobs of any length."""

    kind = "InsertRowAlone"


class Peer(Side):
    """Somebody else's system. All of its processes stand still while work is put in."""

    tables = ""
    ready_words: ClassVar[str]
    """What each of its processes writes when it is ready."""

    def __init__(
        self,
        system: LocalSystem,
        engine: Engine,
        slots: int = 1,
        environment: Environment | None = None,
    ) -> None:
        super().__init__(system, engine, environment)
        self.slots = slots
        self.environment = {**system.settings, **(environment or {})}

    def commands(self) -> list[list[str]]:
        """One, of a program that has both processes, or one for each."""
        raise NotImplementedError

    def putting(self) -> list[str]:
        """The command that makes a job of each id that it reads."""
        raise NotImplementedError

    def variables(self) -> Mapping[str, str]:
        return {
            **self.environment,
            "BENCH_SLOTS": str(self.slots),
            "PYTHONPATH": os.pathsep.join((str(packages("peers")), str(ROOT))),
        }

    def starts(self) -> Sequence[Program]:
        commands, variables = self.commands(), self.variables()
        programs = [
            Program(name=f"worker-{number}", command=command, environment=variables)
            for number, command in enumerate(commands, 1)
        ]
        return [self._ready(program, CHILDREN // len(commands)) for program in programs]

    def _ready(self, program: Program, processes: int) -> Program:
        log = self.log_of(program)
        return replace(program, ready=lambda: log.read_text().count(self.ready_words) >= processes)

    def log_of(self, program: Program) -> Path:
        name = f"bench-{type(self).__name__}-{self.slots}-{program.name}"
        return self.system.layout.log_of(name.lower())

    def takers(self) -> Sequence[psutil.Process]:
        return [
            one
            for process in self.processes.values()
            for one in (process, *process.children(recursive=True))
        ]

    def put(self, jobs: int) -> None:
        ids = "".join(f"{new_id()}\n" for _ in range(jobs))
        self.command(self.putting(), ids)

    def command(self, words: Sequence[str], read: str = "") -> None:
        variables = {**os.environ, **self.variables(), MARKER: str(self.system.layout.home)}
        subprocess.run(
            words, input=read, text=True, check=True, env=variables, cwd=ROOT, timeout=300
        )


class CeleryThreads(Peer):
    """The application of `Stock`, on threads."""

    ready_words = " ready."

    def commands(self) -> list[list[str]]:
        words = ["celery", "-A", "bench.throughput_stock", "worker", "--loglevel=INFO"]
        options = ["--queues=stock", "--pool=threads", f"--concurrency={self.slots}"]
        return [
            [PYTHON, "-m", *words, *options, f"--hostname=stock-{n}@%h"] for n in range(CHILDREN)
        ]

    def put(self, jobs: int) -> None:
        put_stock(jobs)


class Dramatiq(Peer):
    ready_words = "Worker process is ready for action."

    def commands(self) -> list[list[str]]:
        many = [f"--processes={CHILDREN}", f"--threads={self.slots}"]
        return [[PYTHON, "-m", "dramatiq", "bench.peers_dramatiq", *many]]

    def putting(self) -> list[str]:
        return [PYTHON, "-m", "bench.peers_dramatiq"]


class Taskiq(Peer):
    ready_words = "ready\n"

    def commands(self) -> list[list[str]]:
        many = [f"--workers={CHILDREN}", f"--max-async-tasks={self.slots}"]
        return [[PYTHON, "-m", "taskiq", "worker", "bench.peers_taskiq:broker", *many]]

    def putting(self) -> list[str]:
        return [PYTHON, "-m", "bench.peers_taskiq"]


class Procrastinate(Peer):
    servers: ClassVar[Sequence[str]] = ("postgres",)
    ready_words = "Starting worker on"

    def commands(self) -> list[list[str]]:
        self.command(self._call("make_schema"))
        words = ["procrastinate", "--app=bench.peers_procrastinate.app", "worker"]
        options = ["--queues=bench", f"--concurrency={self.slots}"]
        return [[PYTHON, "-m", *words, *options] for _ in range(CHILDREN)]

    def putting(self) -> list[str]:
        return self._call("put")

    def _call(self, name: str) -> list[str]:
        return [PYTHON, "-c", f"from bench.peers_procrastinate import {name}; {name}()"]


class BullMQ(Peer):
    """On PostgreSQL."""

    servers: ClassVar[Sequence[str]] = ("postgres",)
    ready_words = "ready\n"
    backend: ClassVar[str] = "postgres"

    def commands(self) -> list[list[str]]:
        return [self._script("work") for _ in range(CHILDREN)]

    def putting(self) -> list[str]:
        return self._script("put")

    def _script(self, role: str) -> list[str]:
        return [node(), str(ROOT / "bench" / "peers_bullmq.cjs"), role]

    def variables(self) -> Mapping[str, str]:
        numbers = {name: f"${at}" for at, name in enumerate(("id", "name"), 1)}
        return {
            **super().variables(),
            "NODE_PATH": str(node_packages()),
            "BENCH_BACKEND": self.backend,
            "BENCH_REDIS_PORT": str(redis_port(self.system)),
            "BENCH_INSERT": re.sub(r":(\w+)", lambda found: numbers[found[1]], INSERT.text),
        }


class BullMQOnRedis(BullMQ):
    """What Redis has answered is on disk within a second, which is what BullMQ's guide recommends."""

    servers = ("postgres", "redis")
    backend = "redis"
    flush: ClassVar[str] = "everysec"

    def starts(self) -> Sequence[Program]:
        flush_redis(self.system, self.flush)
        return super().starts()


class BullMQOnDurableRedis(BullMQOnRedis):
    """What Redis has answered is on disk: as durable as PostgreSQL and a quorum queue are."""

    flush = "always"
