"""Passwords and keys, made once per home and kept in a file that only its owner may read."""

import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from infra.local.private_file import write_private


def _secret(length: int) -> Callable[[], str]:
    return lambda: secrets.token_hex(length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Hex only, so that no URL, shell or configuration file needs to quote them."""

    postgres_password: str = field(default_factory=_secret(16))
    rabbitmq_password: str = field(default_factory=_secret(16))
    s3_access_key_id: str = field(default_factory=_secret(10))
    s3_secret_access_key: str = field(default_factory=_secret(20))
    sealing_key: str = field(default_factory=_secret(32))
    flower_password: str = field(default_factory=_secret(8))


def load_credentials(path: Path) -> Credentials:
    """The credentials kept in `path`; makes and keeps what is missing."""
    known = json.loads(path.read_text()) if path.exists() else {}
    names = Credentials.__dataclass_fields__
    credentials = Credentials(**{name: value for name, value in known.items() if name in names})
    if asdict(credentials) != known:
        write_private(path, json.dumps(asdict(credentials), indent=2) + "\n")
    return credentials
