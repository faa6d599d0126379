"""Where Prometheus and its promtool are on this machine, and how they get there: only tests and campaigns need them."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from infra.local.errors import MissingProgram
from infra.local.packages import command_for, ensure
from infra.local.ports import LOOPBACK
from infra.local.program import Program

DEBIAN = ("prometheus",)
BREW = ("prometheus",)
NAME = "prometheus"


def ensure_prometheus(say: Callable[[str], None]) -> tuple[Path, Path]:
    """The server's program and promtool, installed where they are missing and we may; nothing of them is
    started. Raises MissingProgram with the command.
    """
    ensure("Prometheus", lambda: _find() is not None, debian=DEBIAN, brew=BREW, say=say)
    found = _find()
    if found is None:
        raise MissingProgram(f"Prometheus is missing; install it with: {command_for(DEBIAN, BREW)}")
    return found


def program(server: Path, *, config: Path, data: Path, port: int) -> Program:
    """A server on the loopback `port` that keeps its data in `data`; ready when it answers."""
    url = f"http://{LOOPBACK}:{port}/-/ready"
    return Program(
        name=NAME,
        command=[
            str(server),
            f"--config.file={config}",
            f"--storage.tsdb.path={data}",
            f"--web.listen-address={LOOPBACK}:{port}",
            "--log.level=warn",
        ],
        ready=lambda: _answers(url),
        server=True,
    )


def configuration(
    targets: Mapping[str, Sequence[int]], *, rules: Sequence[Path], seconds: float
) -> dict[str, Any]:
    """Of a server that asks the loopback ports of each job every so many seconds: prometheus.yml as data."""
    every = f"{round(seconds * 1000)}ms"
    return {
        "global": {
            "scrape_interval": every,
            "scrape_timeout": every,
            "evaluation_interval": every,
        },
        "rule_files": [str(path) for path in rules],
        "scrape_configs": [
            {
                "job_name": job,
                "static_configs": [{"targets": [f"{LOOPBACK}:{port}" for port in ports]}],
            }
            for job, ports in targets.items()
        ],
    }


def _find() -> tuple[Path, Path] | None:
    found = [shutil.which(name) for name in ("prometheus", "promtool")]
    paths = [Path(path) for path in found if path]
    return (paths[0], paths[1]) if len(paths) == len(found) else None


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as answer:  # noqa: S310 - loopback, as made above
            return int(answer.status) == 200
    except (URLError, OSError):
        return False
