"""The stack's proxy on this machine: Caddy with docker-compose.yml's own Caddyfile."""

import os
from pathlib import Path

import pytest

from infra.local import LocalError, Program
from infra.local.caddy import ensure_caddy
from infra.local.layout import ROOT
from infra.local.ports import LOOPBACK, accepts

NOBODY = 1
"""A port that nothing listens on."""


def find_caddy() -> Path:
    """Without it a test is skipped, but fails in CI."""
    try:
        return ensure_caddy(lambda _line: None)
    except LocalError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


def proxy(
    caddy: Path,
    folder: Path,
    port: int,
    *,
    web: int = NOBODY,
    flower: int = NOBODY,
    store: int = NOBODY,
    bucket: str = "millrace",
) -> Program:
    """On `port`, before those that listen on the other ports; its own data is in `folder`."""
    return Program(
        name="proxy",
        command=[
            *(str(caddy), "run", "--adapter", "caddyfile"),
            *("--config", str(ROOT / "infra" / "compose" / "Caddyfile")),
        ],
        environment={
            "PROXY_LISTEN": f"http://{LOOPBACK}:{port}",
            "FLOWER_UPSTREAM": f"{LOOPBACK}:{flower}",
            "S3_UPSTREAM": f"{LOOPBACK}:{store}",
            "S3_BUCKET": bucket,
            "WEB_UPSTREAM": f"{LOOPBACK}:{web}",
            "XDG_DATA_HOME": str(folder / "caddy"),
            "XDG_CONFIG_HOME": str(folder / "caddy"),
        },
        ready=lambda: accepts(port),
    )
