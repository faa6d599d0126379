"""What the peers need and the product doesn't: Redis as a server, Node and BullMQ's packages."""

import hashlib
import json
import shutil
import subprocess
from functools import partial
from pathlib import Path

from infra.local.errors import MissingProgram
from infra.local.layout import ROOT
from infra.local.packages import command_for, ensure
from infra.local.ports import LOOPBACK, accepts, choose_ports
from infra.local.program import Program
from infra.local.system import LocalSystem

REDIS = "redis"
PINS = ("package.json", "package-lock.json", ".npmrc")


def redis_of(system: LocalSystem) -> list[Program]:
    """Redis with its log of every write on; how often that is flushed is set while it runs."""
    folder = system.layout.home / REDIS
    folder.mkdir(parents=True, exist_ok=True)
    port = choose_ports([REDIS], _ports(system), seed=str(system.layout.home))[REDIS]
    options = {
        "bind": LOOPBACK,
        "port": str(port),
        "dir": str(folder),
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    words = [word for key, value in options.items() for word in (f"--{key}", value)]
    command = [_found("redis-server"), *words]
    return [Program(name=REDIS, command=command, ready=lambda: accepts(port), server=True)]


def redis_port(system: LocalSystem) -> int:
    """Chosen when the system starts."""
    return int(json.loads(_ports(system).read_text())[REDIS])


def flush_redis(system: LocalSystem, when: str) -> None:
    """`always`, before each write is answered, or `everysec`."""
    words = ["redis-cli", "-p", str(redis_port(system)), "config", "set", "appendfsync", when]
    subprocess.run(words, check=True, capture_output=True, timeout=10)


def node() -> str:
    """Raises MissingProgram."""
    return _found("node")


def ensure_installed() -> None:
    """Redis and Node, where they are missing and we may. Raises MissingProgram with the command."""
    for what, command, debian, brew in (
        ("Redis", "redis-server", ["redis-server"], ["redis"]),
        ("Node", "npm", ["nodejs", "npm"], ["node"]),
    ):
        is_there = partial(_is_there, command)
        ensure(what, is_there, debian=debian, brew=brew, say=print)
        if not _is_there(command):
            raise MissingProgram(f"{what} is missing; install it with: {command_for(debian, brew)}")


def node_packages() -> Path:
    """The folder with what requirements/peers pins, checked against its hashes. Raises CalledProcessError."""
    pins = ROOT / "requirements" / "peers"
    folder = ROOT / ".local" / "packages" / "peers-node"
    stamp = folder / ".installed"
    wanted = hashlib.sha256(b"".join((pins / name).read_bytes() for name in PINS)).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        print("installing what requirements/peers/package-lock.json pins ...")
        folder.mkdir(parents=True, exist_ok=True)
        for name in PINS:
            shutil.copy(pins / name, folder)
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(["npm", "ci", *options], check=True, cwd=folder)
        stamp.write_text(wanted)
    return folder / "node_modules"


def _is_there(command: str) -> bool:
    return shutil.which(command) is not None


def _ports(system: LocalSystem) -> Path:
    return system.layout.run / "ports.json"  # with the others, so that none is taken twice


def _found(command: str) -> str:
    found = shutil.which(command)
    if found is None:
        raise MissingProgram(f"{command} is missing")
    return found
